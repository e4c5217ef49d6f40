"""Fewer tokens for any model: the vocabulary cut to what a corpus needs, or exchanged for another tokenizer's."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
