"""Spans, BIO labels and the alignment of characters with tokens; no model in it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
