"""The published methods, each a function of one run's data."""
