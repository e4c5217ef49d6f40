"""Sentence similarity and retrieval: encoders, whitening, nearest neighbours, hubness and what corrects it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
