"""Math word problems: numbers in texts and equations, exact values, and whether an equation gives the answer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
