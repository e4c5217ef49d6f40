"""A program: TensorFlow, in a process of its own, reads a checkpoint and writes its weights as safetensors.

A damaged index can abort TensorFlow, and TensorFlow takes hold of devices and logs: neither may happen to the caller.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nlpkit.wobert.conversion.checkpoint_names import is_training_state

WEIGHTS_FILE, TRAINING_STATE_FILE = "weights.safetensors", "training_state.json"


def main(prefix: str, folder: str) -> None:
    """Write the weights to one file, and the shapes of everything that is no weight to another.

    Args:
        prefix: the checkpoint, as TensorFlow takes it.
        folder: the folder to write to.
    """
    import numpy as np
    import tensorflow as tf
    from safetensors.numpy import save_file

    reader = tf.train.load_checkpoint(prefix)
    shapes = {name: tuple(shape) for name, shape in sorted(reader.get_variable_to_shape_map().items())}
    types = reader.get_variable_to_dtype_map()
    weights, training_state = {}, {}
    for name, shape in shapes.items():
        try:
            array = reader.get_tensor(name)  # training state, too: a file cut short is noticed whatever it lacks
        except Exception as error:
            raise ValueError(f"tensor {name!r}: {error}") from error
        is_number = types[name].is_floating or types[name].is_integer
        if is_number and not is_training_state(name, shape, shapes):
            weights[name] = np.ascontiguousarray(array)
        else:
            training_state[name] = shape
    save_file(weights, Path(folder, WEIGHTS_FILE))
    Path(folder, TRAINING_STATE_FILE).write_text(json.dumps(training_state), "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # TensorFlow's have no common class
        print(error or type(error).__name__)
        sys.exit(1)
