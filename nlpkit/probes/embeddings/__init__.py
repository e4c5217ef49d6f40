"""How embeddings fill their space: collapse, density, and how many dimensions a vocabulary needs."""
