"""TensorFlow checkpoints read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from nlpkit.wobert.conversion.tensor_bundle import BundleEntry, decode_tensor, part_key, read_bundle_index


class TfCheckpoint(Mapping[str, np.ndarray]):
    """The tensors of a TensorFlow checkpoint by name, each read from disk, and verified, whenever it is asked for.

    Args:
        prefix: the checkpoint's path without the ending of any of its files.

    Raises:
        FileNotFoundError: a data file is missing.
        ValueError: the index is damaged, or a data file is shorter than the index says.

    Note:
        Made by ``read_tf_checkpoint``, which finds the prefix.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self._shards, self._entries = read_bundle_index(Path(f"{prefix}.index"))
        # Keys that start with a zero byte are parts of a partitioned tensor, which is listed under its own name.
        self._names = {key.decode(): entry for key, entry in self._entries.items() if not key.startswith(b"\0")}
        self._check_data_files()

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._names[name]
        return self._join(name, entry) if entry.parts else self._read(name, entry)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"TfCheckpoint({str(self.prefix)!r}, {len(self)} tensors)"

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it.

        Args:
            name: the tensor's name.

        Returns:
            Its dimensions; ``()`` for a scalar.

        Raises:
            KeyError: there is no such tensor.
        """
        return self._names[name].shape

    def _data_file(self, shard: int) -> Path:
        return Path(f"{self.prefix}.data-{shard:05d}-of-{self._shards:05d}")

    def _check_data_files(self) -> None:
        """Fail on opening rather than in the middle of a long conversion."""
        needed: dict[int, int] = {}
        for entry in self._entries.values():
            if not entry.parts:
                needed[entry.shard] = max(needed.get(entry.shard, 0), entry.offset + entry.size)
        for shard, size in sorted(needed.items()):
            path = self._data_file(shard)
            if not path.is_file():
                raise FileNotFoundError(f"{path}: missing; put all {self._shards} data files beside the index")
            if path.stat().st_size < size:
                raise ValueError(f"{path}: cut short: it has {path.stat().st_size} bytes and the index needs {size}")

    def _read(self, name: str, entry: BundleEntry) -> np.ndarray:
        path = self._data_file(entry.shard)
        raw = np.fromfile(path, dtype=np.uint8, count=entry.size, offset=entry.offset)  # (bytes,)
        try:
            return decode_tensor(entry, raw)
        except ValueError as error:
            raise ValueError(f"{path}: tensor {name!r} is {error}") from None

    def _join(self, name: str, entry: BundleEntry) -> np.ndarray:
        parts = []
        for part in entry.parts:
            key = part_key(name, part)
            if key not in self._entries:
                raise ValueError(f"{self.prefix}.index: tensor {name!r} is partitioned, and lacks its part {part}")
            parts.append(self._read(name, self._entries[key]))
        whole = np.empty(entry.shape, dtype=parts[0].dtype)
        if sum(part.size for part in parts) != whole.size:
            raise ValueError(f"{self.prefix}.index: the parts of {name!r} do not fill its shape {entry.shape}")
        for extents, values in zip(entry.parts, parts, strict=True):
            whole[tuple(slice(start, None if size is None else start + size) for start, size in extents)] = values
        return whole


def read_tf_checkpoint(path: str | PathLike[str]) -> TfCheckpoint:
    """Open a TensorFlow checkpoint (format V2, which every TensorFlow since 1.0 writes) without TensorFlow.

    Args:
        path: the prefix TensorFlow printed when saving (``.../bert_model.ckpt``), any one of the checkpoint's files,
            or a folder; of several checkpoints in a folder, its ``checkpoint`` file names the one taken.

    Returns:
        A mapping from every name in the checkpoint, optimizer slots included, to its array. Types are kept, but for
        bfloat16, which numpy lacks: it is widened to float32, exactly. Strings are ``bytes`` objects.

    Raises:
        FileNotFoundError: no checkpoint there, or one of its data files is missing.
        ValueError: not a checkpoint, one in TensorFlow's old V1 format, several in one folder, or files that are cut
            short; the message names the file. Looking a tensor up raises it when the checksum does not match.

    Note:
        Opening reads the index only. Each look-up reads one tensor, at the disk's pace plus about two seconds a
        gigabyte for its checksum.

    Example:
        >>> checkpoint = read_tf_checkpoint("tests/wobert/fixtures/tf_bert_tiny")
        >>> checkpoint.shape("bert/embeddings/word_embeddings")
        (23, 8)
    """
    return TfCheckpoint(_prefix(Path(path)))


def _prefix(path: Path) -> Path:
    if path.is_dir():
        return _prefix_in_folder(path)
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))
    if Path(f"{prefix}.index").is_file():
        return prefix
    if prefix.is_file():
        raise ValueError(
            f"{prefix}: a single file without an index is a checkpoint of TensorFlow's old V1 format, or none at all; "
            "load a V1 checkpoint in TensorFlow and save it with tf.raw_ops.SaveV2 (docs/conversion.md shows how)"
        )
    raise FileNotFoundError(f"{path}: no TensorFlow checkpoint; there is no {prefix.name}.index in {prefix.parent}")


def _prefix_in_folder(folder: Path) -> Path:
    state = folder / "checkpoint"
    if state.is_file():
        latest = re.search(r'^model_checkpoint_path: "(.*)"$', state.read_text(encoding="utf-8"), re.MULTILINE)
        if latest is None:
            raise ValueError(f"{state}: names no checkpoint; give the prefix of one, or delete this file")
        # It may hold a path on the machine that wrote it; the checkpoint lies beside it all the same.
        return _prefix(folder / Path(latest[1]).name)
    found = sorted(folder.glob("*.index"))
    if not found:
        raise FileNotFoundError(f"{folder}: no TensorFlow checkpoint; the folder holds no *.index file")
    if len(found) > 1:
        names = ", ".join(str(file.with_suffix("")) for file in found)
        raise ValueError(f"{folder}: holds several checkpoints; give the prefix of one of them: {names}")
    return found[0].with_suffix("")
