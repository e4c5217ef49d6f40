"""Run folders: a recipe's settings, whether it is the same run, checkpoints, the log of metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
