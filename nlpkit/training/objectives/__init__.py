"""Techniques that give the loss something else to judge: two views of a text, samples and rewards, a whole step."""
