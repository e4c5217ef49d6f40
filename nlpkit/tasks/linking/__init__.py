"""Entity linking: which entity of a knowledge base a name in a text stands for, if any."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
