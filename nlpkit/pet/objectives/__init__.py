"""What a classifier is trained on, and the trainer."""
