"""Perturbed masking: words and trees out of a masked language model that was never taught any."""
