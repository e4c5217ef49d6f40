"""Few-shot evaluation that can be trusted: tasks, splits, leak checks, runs over splits and seeds, tables, tests."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
