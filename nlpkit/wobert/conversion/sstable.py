"""Sorted string tables: the key-value files of LevelDB, in which TensorFlow keeps the index of a checkpoint."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nlpkit.wobert.conversion.crc32c import crc32c

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48  # two block handles, padding, the magic number
_TRAILER = 5  # after each block: a byte naming its compression, and a checksum of the block and that byte


def read_table(path: Path) -> dict[bytes, bytes]:
    """Every key of a table with its value, in the order of the file; checksums are verified.

    Source: LevelDB's ``doc/table_format.md``; the block entries are those of its ``doc/impl.md``.

    Args:
        path: the table.

    Returns:
        The whole table.

    Raises:
        ValueError: not a table, cut short, damaged, or compressed.

    Note:
        Everything is read at once: meant for indexes of some thousand keys.
    """
    table = path.read_bytes()
    if not table.endswith(_MAGIC) or len(table) < _FOOTER:
        hint = "; it is a Git LFS pointer: run `git lfs pull`" if table.startswith(b"version https://git-lfs") else ""
        raise ValueError(f"{path}: not a LevelDB-style table, or cut short (no end mark in {len(table)} bytes){hint}")
    try:
        _, start = _read_handle(table, len(table) - _FOOTER)  # the meta-index, which TensorFlow leaves empty
        index, _ = _read_handle(table, start)
        blocks = [_read_handle(handle, 0)[0] for _, handle in _entries(_block(table, index))]
        return {key: value for handle in blocks for key, value in _entries(_block(table, handle))}
    except (IndexError, struct.error):
        raise ValueError(f"{path}: damaged: a length inside it points past its end") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """Decode one variable-length integer, seven bits a byte, least significant first.

    Args:
        buffer: the bytes.
        position: where the integer starts.

    Returns:
        The integer, and the position after it.

    Raises:
        IndexError: the buffer ends before the integer does.

    Example:
        >>> read_varint(b"\\xac\\x02", 0)
        (300, 2)
    """
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """The checksum as LevelDB stores it: rotated and offset, so that checksums of checksums stay meaningful.

    Args:
        data: what the checksum protects.

    Returns:
        An unsigned 32-bit integer.

    Example:
        >>> hex(masked_crc32c(b"123456789"))
        '0xc78ab0e5'
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _read_handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(buffer, position)
    size, position = read_varint(buffer, position)
    return (offset, size), position


def _block(table: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    compression, checksum = struct.unpack_from("<BI", table, offset + size)
    if checksum != masked_crc32c(table[offset : offset + size + 1]):
        raise ValueError(f"damaged: the checksum of the block at byte {offset} does not match")
    if compression:
        raise ValueError("compressed with Snappy, which TensorFlow 1.2 and later never write")
    return table[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    key, position = b"", 0
    while position < end:
        shared, position = read_varint(block, position)  # leading bytes taken from the key before
        unshared, position = read_varint(block, position)
        size, position = read_varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + size]
        position += size
