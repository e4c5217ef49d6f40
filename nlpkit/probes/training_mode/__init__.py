"""What a model really does in training: the dropout that it draws, and what its normalisations divide by."""
