"""Released checkpoints, converted."""
