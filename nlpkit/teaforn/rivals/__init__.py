"""What else is done about exposure bias, for a comparison in one Trainer."""
