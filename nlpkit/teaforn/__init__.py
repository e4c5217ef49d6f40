"""TeaForN: a decoder that reads its own states while it trains; its rivals, and what exposure bias costs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
