"""What runs in every step of a Trainer: items, terms, checkpoints, and what is refused."""
