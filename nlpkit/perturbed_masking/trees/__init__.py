"""From an impact matrix to a tree."""
