"""Labels of characters from tokens that are words."""
