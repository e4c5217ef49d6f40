"""Checkpoints as they are published: a TensorFlow checkpoint or a transformers folder, behind one interface."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from nlpkit.files import read_json
from nlpkit.wobert.conversion.tensorflow_checkpoint import checkpoint_files, find_prefix, read_tensorflow
from nlpkit.wobert.words.vocabulary_file import read_vocabulary

Format = Literal["tensorflow", "safetensors", "pytorch"]

_WEIGHTS: dict[Format, str] = {"safetensors": "model.safetensors", "pytorch": "pytorch_model.bin"}
_TOKENIZER_SETTINGS = ("do_lower_case", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class CheckpointSource:
    """A published checkpoint.

    Args:
        format: what its weights are stored in.
        path: the file of weights, or the prefix of TensorFlow's files.
        settings: its configuration as stored.
        tensors: its weights by name.
        training_state: the shapes, by name, of what a TensorFlow checkpoint holds besides weights.
    """

    format: Format
    path: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    training_state: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def vocabulary(self) -> dict[str, int]:
        """The vocabulary beside the weights: ``vocab.txt``, or that of a WordPiece ``tokenizer.json``.

        Returns:
            Token to id.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be read, or is of another kind.
        """
        folder = self.path.parent
        if (folder / "vocab.txt").is_file():
            return read_vocabulary(folder / "vocab.txt")
        if not (folder / "tokenizer.json").is_file():
            raise FileNotFoundError(f"{folder} holds no vocab.txt; give the checkpoint's vocabulary as vocabulary=...")
        path = folder / "tokenizer.json"
        tokenizer = read_json(path)
        try:
            kind = tokenizer["model"].get("type")
            if kind == "WordPiece":
                added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
                return tokenizer["model"]["vocab"] | added
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged, or not of the tokenizers library ({error!r}); give the checkpoint's vocabulary "
                "as vocabulary=..."
            ) from error
        raise ValueError(
            f"{path} is a {kind} tokenizer, and a word tokenizer needs a WordPiece vocabulary; give the checkpoint's "
            "as vocabulary=..."
        )

    def tokenizer_settings(self) -> dict[str, Any]:
        """What the source's tokenizer was told that a word tokenizer must be told too, such as ``do_lower_case``."""
        path = self.path.parent / "tokenizer_config.json"
        stored = read_json(path) if path.is_file() else {}
        # Special tokens are stored as themselves, or as an AddedToken with its text under "content".
        return {
            name: stored[name]["content"] if isinstance(stored[name], dict) else stored[name]
            for name in _TOKENIZER_SETTINGS
            if stored.get(name) is not None
        }


def open_checkpoint(path: Path) -> CheckpointSource:
    """Open a checkpoint folder, or a TensorFlow checkpoint by its prefix.

    Args:
        path: folder or prefix. Of several kinds of weights in a folder, safetensors are taken before PyTorch's and
            those before TensorFlow's.

    Returns:
        The checkpoint.

    Raises:
        FileNotFoundError: there are no weights, or no configuration.
        ValueError: a file is cut short, damaged, or not what its name says.
    """
    if path.is_dir():
        for kind, name in _WEIGHTS.items():
            if (path / name).is_file() or (path / f"{name}.index.json").is_file():
                return _open_transformers(path, kind, name)
    elif not path.parent.is_dir():
        raise FileNotFoundError(f"source {path} does not exist; give a local folder, or the prefix of a checkpoint")
    return _open_tensorflow(find_prefix(path))


def _open_tensorflow(prefix: Path) -> CheckpointSource:
    _refuse_pointers(checkpoint_files(prefix))
    folder = prefix.parent
    config = next((file for file in (folder / "bert_config.json", folder / "config.json") if file.is_file()), None)
    if config is None:
        raise FileNotFoundError(
            f"{folder} holds no bert_config.json beside {prefix.name}; put the checkpoint's configuration there"
        )
    settings = read_json(config)
    # transformers would fill these in with BERT-base's, and no shape would give a wrong number of heads away.
    missing = [name for name in ("num_attention_heads", "num_hidden_layers", "hidden_act") if name not in settings]
    if missing:
        raise ValueError(f"{config} lacks {', '.join(missing)}; it must be the configuration of this checkpoint")
    return CheckpointSource("tensorflow", prefix, settings, *read_tensorflow(prefix))


def _open_transformers(folder: Path, kind: Format, name: str) -> CheckpointSource:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds {name} but no config.json; put the model's configuration there")
    settings = read_json(folder / "config.json")
    tensors: dict[str, Tensor] = {}
    for file in _weight_files(folder, name):
        tensors |= _load(file, kind)
    return CheckpointSource(kind, folder / name, settings, tensors)


def _weight_files(folder: Path, name: str) -> list[Path]:
    """One file of weights, or the shards that an index lists."""
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}.index.json"
    try:
        return [folder / shard for shard in sorted(set(read_json(index)["weight_map"].values()))]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{index} lists no shards under 'weight_map'; fetch it again") from error


def _load(file: Path, kind: Format) -> dict[str, Tensor]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: missing; the index beside it says that it holds part of the weights")
    _refuse_pointers([file])
    try:
        tensors = load_file(file) if kind == "safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{file}: holds more than weights, and loading it could run code, or is damaged") from error
    except Exception as error:  # a damaged pickle fails in any of Python's ways
        raise ValueError(f"{file}: cut short, damaged, or not a file of weights ({error})") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{file}: not a state dict; save it as one: torch.save(model.state_dict(), ...)")
    return tensors


def _refuse_pointers(files: Iterable[Path]) -> None:
    for file in files:
        with file.open("rb") as opened:
            if opened.read(24) == b"version https://git-lfs.":
                raise ValueError(f"{file}: a pointer of Git LFS in place of the file; run git lfs pull")
