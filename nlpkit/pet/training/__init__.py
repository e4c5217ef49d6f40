"""What trains any classifier: rows, objectives, and the Trainer."""
