"""The page on conversion reads a TensorFlow checkpoint."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("tensorflow") else ["conversion.md"]  # CI has it: pip install '.[convert]'
