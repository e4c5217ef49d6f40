"""What finds entities in the states of an encoder: scores of spans, or labels in a chain."""
