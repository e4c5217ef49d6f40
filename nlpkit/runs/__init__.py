"""Run folders: settings, whether it is the same run, checkpoints, metrics; and what several runs show together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
