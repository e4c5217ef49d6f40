"""Training techniques for the Hugging Face Trainer: one technique, one file."""
