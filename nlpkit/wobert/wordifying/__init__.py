"""The surgery that turns any encoder into a word model."""
