"""Words and trees out of a masked language model that was never trained for them."""
