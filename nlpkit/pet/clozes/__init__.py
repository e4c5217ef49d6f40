"""A text and a pattern, made into a cloze with its label words."""
