"""The blocks that a ladder may stand beside: where a model keeps them, and which of their weights belong together."""
