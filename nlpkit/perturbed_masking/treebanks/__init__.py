"""Reading gold trees, and scoring against them."""
