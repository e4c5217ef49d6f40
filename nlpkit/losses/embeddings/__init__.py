"""Losses over embeddings: pairs, classes, and agreement without negatives."""
