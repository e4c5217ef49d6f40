"""Shards of taps: safetensors files, written whole or not at all and read by memory-mapping."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nlpkit.files import whole_file

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
#: Bytes of a digest.
KEY_SIZE = 16
_FORMAT_NAMES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


def quantise(taps: Tensor) -> tuple[Tensor, Tensor]:
    """Round states to 8 bits, each state to its own scale.

    Args:
        taps: shape ``(..., width)``.

    Returns:
        Whole numbers from -127 to 127, shape ``(..., width)``, and what they are multiples of, shape ``(...)``.

    Example:
        >>> quantise(torch.tensor([[254.0, -2.0, 0.0]]))
        (tensor([[127,  -1,   0]], dtype=torch.int8), tensor([2.]))
    """
    taps = taps.float()
    scales = taps.abs().amax(dim=-1) / 127
    return (taps / scales.clamp(min=1e-30)[..., None]).round().to(torch.int8), scales


def write_shard(path: Path, rows: Sequence[tuple[bytes, Mapping[str, Tensor]]], dtype: str) -> None:
    """Write a shard.

    Args:
        path: the file.
        rows: digest and taps of each row; taps by stack, shape ``(length, layers, width)``.
        dtype: a key of ``DTYPES``.

    Raises:
        OSError: it cannot be written; then there is no file.
    """
    digests, found = zip(*rows, strict=True)
    keys = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8)
    tensors = {"keys": [keys.view(len(rows), KEY_SIZE)]}
    for stack in found[0]:
        taps = [of_row[stack] for of_row in found]
        tensors[f"{stack}:offsets"] = [torch.tensor([0, *map(len, taps)]).cumsum(dim=0)]
        if dtype == "int8":
            rounded = [quantise(part) for part in taps]
            taps, tensors[f"{stack}:scales"] = [part for part, _ in rounded], [scales for _, scales in rounded]
        tensors[f"{stack}:taps"] = [part.to(DTYPES[dtype]) for part in taps]
        parts = zip(*(tensors[name] for name in _named(stack, tensors)), strict=True)
        tensors[f"{stack}:sums"] = [torch.tensor([_sum(part) for part in parts])]
    with whole_file(path) as draft, draft.open("wb") as file:
        _write_tensors(file, tensors)


def _named(stack: str, names: Iterable[str]) -> list[str]:
    """What a stack's taps consist of."""
    return [name for name in (f"{stack}:taps", f"{stack}:scales") if name in names]


def _sum(tensors: Sequence[Tensor]) -> int:
    """The checksum of a row."""
    found = 0
    for tensor in tensors:
        found = zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().data, found)
    return found


def _write_tensors(file: BinaryIO, tensors: Mapping[str, Sequence[Tensor]]) -> None:
    """Write a safetensors file, each tensor from parts that are joined along their first dimension in the file alone.

    Source: the format as described in the documentation of safetensors: the header's length, 8 bytes, little-endian;
    the header, JSON; the tensors without gaps. The library itself wants each tensor in one piece, and its
    ``save_file`` writes through a memory map in some versions, where a full disk kills the process.
    """
    # Large elements first, so that all are aligned.
    order = sorted(tensors, key=lambda name: -tensors[name][0].element_size())
    header, end = {}, 0
    for name in order:
        parts = tensors[name]
        begin, end = end, end + sum(part.nbytes for part in parts)
        shape = [sum(map(len, parts)), *parts[0].shape[1:]]
        header[name] = {"dtype": _FORMAT_NAMES[parts[0].dtype], "shape": shape, "data_offsets": [begin, end]}
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    file.write(struct.pack("<Q", len(written)) + written)
    for name in order:
        for part in tensors[name]:
            file.write(part.contiguous().flatten().view(torch.uint8).numpy().data)


class Shard:
    """A shard of taps, read by memory-mapping.

    Args:
        path: the file.
        stacks: names of the stacks whose taps it must hold.

    Attributes:
        keys: digests of the rows.

    Raises:
        ValueError: the file is cut off or damaged, or lacks the taps of a stack.
    """

    def __init__(self, path: Path, stacks: Iterable[str]) -> None:
        try:
            self._file = safe_open(path, framework="pt")
            self._names = set(self._file.keys())
            self.keys = [bytes(key) for key in self._file.get_tensor("keys").numpy()]
            self._sums = {stack: self._file.get_tensor(f"{stack}:sums").tolist() for stack in stacks}
            self._offsets = {stack: self._file.get_tensor(f"{stack}:offsets").tolist() for stack in stacks}
            for stack, offsets in self._offsets.items():
                (end, *_) = self._file.get_slice(f"{stack}:taps").get_shape()
                if len(offsets) != len(self.keys) + 1 or offsets != sorted(offsets) or offsets[-1] != end:
                    raise ValueError(f"its rows of {stack!r} do not add up")
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise ValueError(_damaged(path, error)) from error
        self._path, self._checked = path, set[tuple[str, int]]()

    def read(self, stack: str, row: int) -> Tensor:
        """The taps of a row.

        Args:
            stack: name of the stack.
            row: number of the row in the shard.

        Returns:
            Shape ``(length, layers, width)``; fp32 if they were kept in 8 bits.

        Raises:
            ValueError: they are not what was written; each row is looked at when it is first read.
        """
        start, end = self._offsets[stack][row : row + 2]
        parts: list[Tensor] = [self._file.get_slice(name)[start:end] for name in _named(stack, self._names)]
        if (stack, row) not in self._checked:
            if _sum(parts) != self._sums[stack][row]:
                raise ValueError(_damaged(self._path, f"row {row} is not what was written"))
            self._checked.add((stack, row))
        return parts[0] if len(parts) == 1 else parts[0].float() * parts[1][..., None]


def _damaged(path: Path, what: object) -> str:
    return f"{path} is cut off or damaged ({what}); delete it and cache its taps again"
