"""Parses on pages for a browser."""
