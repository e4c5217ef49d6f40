"""Losses for rare classes, and surrogates of accuracy and F1."""
