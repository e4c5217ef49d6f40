"""Work on a whole corpus: in this process, in several, or on the machines of a Ray cluster, with equal results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
