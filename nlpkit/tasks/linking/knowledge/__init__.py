"""What is known of entities: their ids, names and descriptions."""
