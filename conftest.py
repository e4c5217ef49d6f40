"""An example reads a TensorFlow checkpoint."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("tensorflow") else ["nlpkit/wobert/conversion/tensorflow_checkpoint.py"]
