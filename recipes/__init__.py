"""Recipes: programs meant to be read, copied and run."""
