"""Sequence to sequence with one encoder: UniLM's mask and model, batches, generation, and scores of characters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
