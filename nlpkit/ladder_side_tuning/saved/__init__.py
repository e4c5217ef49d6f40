"""Ladders on disk: side weights, what they stand on, and how they are found again."""
