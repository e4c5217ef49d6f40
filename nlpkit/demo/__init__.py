"""A page for a browser that shows what the models do; ``nlpkit demo`` serves it."""
