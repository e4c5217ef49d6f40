"""Ladder side-tuning: fine-tune beside the model, not through it."""
