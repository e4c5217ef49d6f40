"""Su Jianlin's best ideas for pretrained models, on today's Hugging Face stack.

Importing this package is cheap: neither torch nor transformers is loaded until a name that needs them is used. The
public names of this package, and of each room, stand in the ``__init__.pyi`` beside its ``__init__.py``.
"""

from __future__ import annotations

import lazy_loader

from nlpkit.auto import register as _register
from nlpkit.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_register(__getattr__)
