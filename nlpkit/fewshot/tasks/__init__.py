"""Tasks, their folders and splits, and what leaks between them."""
