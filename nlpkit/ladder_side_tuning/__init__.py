"""Ladder side-tuning: fine-tune beside the model, not through it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
