"""Classes and labels as rare as they are: scores that the rare ones count in, and calibrated probabilities."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
