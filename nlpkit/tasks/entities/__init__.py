"""Named entities: scores of spans (GlobalPointer) or of labels in a chain (CRF), over any encoder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
