"""Corpora, mixtures, packing and masking, with randomness that is a function of a row's number."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
