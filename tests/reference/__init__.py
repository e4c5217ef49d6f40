"""Slow, obvious implementations that the library is compared with."""
