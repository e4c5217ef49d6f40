"""Whether a model can count positions, and attention that can where softmax alone cannot."""
