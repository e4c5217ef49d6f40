"""Techniques that give the loss something else to judge: two views of a text, or samples and their rewards."""
