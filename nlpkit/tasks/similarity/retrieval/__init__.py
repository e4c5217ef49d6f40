"""Nearest neighbours among embeddings, how unevenly they fall, and scores that correct it."""
