"""TensorFlow checkpoints, found in a folder and read by TensorFlow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from nlpkit.extras import install_hint
from nlpkit.wobert.conversion import tensorflow_process
from nlpkit.wobert.conversion.tensorflow_process import TRAINING_STATE_FILE, WEIGHTS_FILE


def read_tensorflow(prefix: Path) -> tuple[dict[str, Tensor], dict[str, tuple[int, ...]]]:
    """Let TensorFlow read a checkpoint, of either of its formats, in a process of its own.

    Args:
        prefix: the checkpoint, as ``find_prefix`` gives it.

    Returns:
        The weights by name, and the shapes, by name, of what is no weight: counters, optimizer slots, texts.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: TensorFlow cannot read it; the message names the files.

    Note:
        Starting TensorFlow takes some seconds. It sees no GPU, its log is not shown, and a checkpoint on which it
        crashes is an error like any other.

    Example:
        >>> weights, training_state = read_tensorflow(Path("tests/wobert/fixtures/tf_bert_tiny/bert_model.ckpt"))
        >>> weights["bert/embeddings/word_embeddings"].shape, training_state["global_step"]
        (torch.Size([23, 8]), ())
    """
    if find_spec("tensorflow") is None:
        raise ImportError(
            f"{prefix} is a TensorFlow checkpoint, and TensorFlow is not installed; {install_hint('convert')}",
            name="tensorflow",
        )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tqdm(total=1, desc=f"TensorFlow reads {prefix.name}", disable=None) as bar,
    ):
        command = [sys.executable, "-P", "-m", tensorflow_process.__name__, str(prefix), folder]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
        if run.returncode:
            names = ", ".join(file.name for file in checkpoint_files(prefix))
            reason = run.stdout.strip() or f"it crashed, with exit status {run.returncode}"
            raise ValueError(
                f"{prefix}: TensorFlow cannot read {names} ({reason}); if a file is cut short or damaged, fetch it "
                "again"
            )
        bar.update()
        training_state = json.loads(Path(folder, TRAINING_STATE_FILE).read_text("utf-8"))
        weights = dict(sorted(load_file(Path(folder, WEIGHTS_FILE)).items()))
    return weights, {name: tuple(shape) for name, shape in training_state.items()}


def find_prefix(path: Path) -> Path:
    """The prefix by which TensorFlow knows a checkpoint.

    Args:
        path: the prefix, any file of the checkpoint, or a folder; of several checkpoints in a folder, its file
            ``checkpoint`` names the one taken.

    Returns:
        The path without the ending of any file; of the old V1 format, the one file itself.

    Raises:
        FileNotFoundError: there is no checkpoint, or none of its data files.
        ValueError: the folder holds several.

    Example:
        >>> find_prefix(Path("tests/wobert/fixtures/tf_bert_tiny")).name
        'bert_model.ckpt'
    """
    prefix = _prefix_in_folder(path) if path.is_dir() else path
    prefix = prefix.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", prefix.name))
    files = checkpoint_files(prefix)
    if not files:
        raise FileNotFoundError(f"{path}: no TensorFlow checkpoint; there is no {prefix.name}.index in {path.parent}")
    if files == [Path(f"{prefix}.index")]:
        raise FileNotFoundError(
            f"{prefix}.data-00000-of-00001 or its like is missing; put all data files of {files[0].name} beside it"
        )
    return prefix


def checkpoint_files(prefix: Path) -> list[Path]:
    """The files of a checkpoint: index and data, or the one file of the old V1 format.

    Args:
        prefix: the checkpoint.

    Returns:
        Those that exist, the index first.
    """
    index = Path(f"{prefix}.index")
    if not index.is_file():
        return [prefix] if prefix.is_file() else []
    data = re.compile(re.escape(prefix.name) + r"\.data-\d{5}-of-\d{5}")
    return [index, *sorted(file for file in prefix.parent.iterdir() if data.fullmatch(file.name))]


def _prefix_in_folder(folder: Path) -> Path:
    state = folder / "checkpoint"
    if state.is_file():
        text = state.read_text("utf-8", errors="replace")
        latest = re.search(r'^model_checkpoint_path: "(.*)"$', text, re.MULTILINE)
        # It may hold a path on the machine that wrote it; the checkpoint lies beside it all the same.
        name = PurePosixPath(latest[1].replace("\\", "/")).name if latest else ""
        if name in ("", state.name) or not checkpoint_files(folder / name):
            raise FileNotFoundError(
                f"{state}: names no checkpoint of this folder; give the prefix of one, or delete this file"
            )
        return folder / name
    found = sorted(folder.glob("*.index"))
    if not found:
        raise FileNotFoundError(
            f"source {folder} holds no weights: no model.safetensors, pytorch_model.bin or TensorFlow *.index file"
        )
    if len(found) > 1:
        names = ", ".join(str(file.with_suffix("")) for file in found)
        raise ValueError(f"{folder}: holds several checkpoints; give the prefix of one of them: {names}")
    return found[0].with_suffix("")
