"""A backbone's states, kept on disk."""
