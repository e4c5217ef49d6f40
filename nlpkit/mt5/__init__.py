"""mT5 made right on transformers 5: its own tokenizer, an untied head, and pseudo-summaries to pre-train on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
