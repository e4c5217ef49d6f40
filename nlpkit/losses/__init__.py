"""Losses with one contract for normalisation: one loss, one file."""
