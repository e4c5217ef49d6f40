"""TensorFlow's tensor bundle: what the index of a checkpoint says, and how its tensors are stored.

Source: ``tensorflow/core/protobuf/tensor_bundle.proto`` and the comments of ``tensor_bundle.cc`` beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path

import numpy as np

from nlpkit.wobert.conversion.sstable import masked_crc32c, read_table, read_varint

_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    10: "?",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}  # the numbers of tensorflow/core/framework/types.proto
_STRING, _BFLOAT16 = 7, 14

Extent = tuple[int, int | None]  # start and length along one dimension; no length means all of it


@dataclass(frozen=True)
class BundleEntry:
    """Where a tensor lies, and of what it is made; a partitioned tensor has parts in place of data."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    parts: tuple[tuple[Extent, ...], ...]


def read_bundle_index(path: Path) -> tuple[int, dict[bytes, BundleEntry]]:
    """Read the index of a checkpoint.

    Args:
        path: the ``.index`` file.

    Returns:
        The number of data files, and the entry of each key: names, and the parts of partitioned tensors.

    Raises:
        ValueError: not such an index, damaged, or written on a big-endian machine.
    """
    table = read_table(path)
    try:
        header = _numbers(table.pop(b""))
        shards, big_endian = header[1], header.get(2, 0)
        entries = {key: _parse_entry(value) for key, value in table.items()}
    except (KeyError, IndexError, ValueError, struct.error):
        raise ValueError(f"{path}: a LevelDB-style table, but not the index of a TensorFlow checkpoint") from None
    if big_endian:
        raise ValueError(f"{path}: written on a big-endian machine; save it again on a little-endian one")
    return shards, entries


def decode_tensor(entry: BundleEntry, raw: np.ndarray) -> np.ndarray:
    """Make an array of a tensor's stored bytes.

    Args:
        entry: the tensor's entry in the index.
        raw: its bytes, shape ``(entry.size,)``, uint8.

    Returns:
        The array, shape ``entry.shape``. bfloat16, which numpy lacks, becomes float32, exactly; strings become
        ``bytes`` objects.

    Raises:
        ValueError: the checksum does not match, the bytes do not fill the shape, or numpy has no such type.
    """
    if entry.dtype == _STRING:
        return _decode_strings(entry, raw.tobytes())
    if masked_crc32c(raw) != entry.checksum:
        raise ValueError("damaged: its checksum does not match")
    if entry.dtype != _BFLOAT16 and entry.dtype not in _DTYPES:
        raise ValueError(f"of TensorFlow's type number {entry.dtype}, which numpy does not have")
    stored = np.dtype(_DTYPES.get(entry.dtype, "<u2"))
    if entry.size != prod(entry.shape) * stored.itemsize:
        raise ValueError(f"damaged: {entry.size} bytes do not fill shape {entry.shape}")
    values = raw.view(stored).reshape(entry.shape)
    return (values.astype("<u4") << 16).view("<f4") if entry.dtype == _BFLOAT16 else values


def part_key(name: str, part: tuple[Extent, ...]) -> bytes:
    """The key under which one part of a partitioned tensor is filed: an ordered code of its name and place.

    Source: ``tensorflow/core/lib/strings/ordered_code.h``.

    Args:
        name: the tensor's name.
        part: the part's extent along each dimension.

    Returns:
        The key, which starts with a zero byte as no name does.
    """
    escaped = name.encode().replace(b"\xff", b"\xff\x00").replace(b"\0", b"\0\xff")
    rank = len(part).to_bytes(1, "big") if part else b""
    numbers = (_ordered(number) for start, length in part for number in (start, -1 if length is None else length))
    return b"\0" + escaped + b"\0\1" + len(rank).to_bytes(1, "big") + rank + b"".join(numbers)


def _ordered(number: int) -> bytes:
    """Signed integers as bytes that sort like the numbers: as many leading ones (for negatives, zeros) as bytes."""
    magnitude = ~number if number < 0 else number
    length = magnitude.bit_length() // 7 + 1
    marks = ((1 << length) - 1) << 7 * length
    code = (magnitude | marks).to_bytes(length, "big")
    return bytes(~byte & 0xFF for byte in code) if number < 0 else code


def _decode_strings(entry: BundleEntry, raw: bytes) -> np.ndarray:
    """Lengths as varints, a checksum of them, then the strings; the entry's checksum covers the decoded lengths."""
    lengths, position = [], 0
    try:
        for _ in range(prod(entry.shape)):
            length, position = read_varint(raw, position)
            lengths.append(length)
        decoded = struct.pack(f"<{len(lengths)}I", *lengths)
    except (IndexError, struct.error):
        raise ValueError("damaged: the lengths of its strings make no sense") from None
    if masked_crc32c(decoded + raw[position:]) != entry.checksum:
        raise ValueError("damaged: its checksum does not match")
    bounds = accumulate(lengths, initial=position + 4)
    strings = np.empty(len(lengths), dtype=object)
    strings[:] = [raw[start:end] for start, end in pairwise(bounds)]
    return strings.reshape(entry.shape)


def _parse_entry(message: bytes) -> BundleEntry:
    numbers = _numbers(message)
    return BundleEntry(
        dtype=numbers.get(1, 0),
        shape=tuple(_numbers(dim).get(1, 0) for shape in _messages(message, 2) for dim in _messages(shape, 2)),
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        checksum=numbers.get(6, 0),
        parts=tuple(tuple(map(_parse_extent, _messages(part, 1))) for part in _messages(message, 7)),
    )


def _parse_extent(message: bytes) -> Extent:
    numbers = _numbers(message)
    return numbers.get(1, 0), numbers.get(2)


def _numbers(message: bytes) -> dict[int, int]:
    return {number: value for number, value in _fields(message) if isinstance(value, int)}


def _messages(message: bytes, wanted: int) -> list[bytes]:
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of an encoded protocol buffer, of the three wire types that bundles use."""
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        match tag & 7:
            case 0:
                value, position = read_varint(message, position)
                yield tag >> 3, value
            case 2:
                size, position = read_varint(message, position)
                yield tag >> 3, message[position : position + size]
                position += size
            case 5:
                yield tag >> 3, struct.unpack_from("<I", message, position)[0]
                position += 4
            case wire_type:
                raise ValueError(f"wire type {wire_type} in a protocol buffer")
