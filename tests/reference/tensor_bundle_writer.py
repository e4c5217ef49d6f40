"""An obvious writer of TensorFlow checkpoints: one tensor after another, one key a block, a bit at a time."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
TYPE_NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def crc32c_bit_by_bit(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for octet in data:
        remainder ^= octet
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return (rotated + 0xA282EAD8) & 0xFFFFFFFF


def varint(number: int) -> bytes:
    septets = []
    while number >= 128:
        septets.append(number % 128 + 128)
        number //= 128
    return bytes([*septets, number])


def number_field(number: int, value: int) -> bytes:
    return varint(number * 8) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number * 8 + 2) + varint(len(value)) + value


def checksum_field(number: int, value: int) -> bytes:
    return varint(number * 8 + 5) + struct.pack("<I", value)


def header(shards: int = 1, endianness: int = 0) -> bytes:
    return number_field(1, shards) + number_field(2, endianness) + bytes_field(3, number_field(1, 1))


def entry(array: np.ndarray, offset: int = 0, shard: int = 0) -> bytes:
    stored = array.tobytes()
    shape = b"".join(bytes_field(2, number_field(1, size)) for size in array.shape)
    place = number_field(3, shard) + number_field(4, offset) + number_field(5, len(stored))
    checksum = checksum_field(6, masked(crc32c_bit_by_bit(stored)))
    return number_field(1, TYPE_NUMBERS[array.dtype.name]) + bytes_field(2, shape) + place + checksum


def write_table(path: Path, table: dict[bytes, bytes], keys_a_block: int = 3, compression: int = 0) -> None:
    """Write a LevelDB-style table; keys share their beginnings within a block, as LevelDB's do."""
    written = b""

    def append(pairs: list[tuple[bytes, bytes]]) -> bytes:
        """Add a block to the file and return its handle."""
        nonlocal written
        block, before = b"", b""
        for key, value in pairs:
            shared = next((i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), None)
            shared = min(len(key), len(before)) if shared is None else shared
            block += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
            before = key
        block += struct.pack("<II", 0, 1)  # one restart point, at the first key
        handle = varint(len(written)) + varint(len(block))
        protected = block + bytes([compression])
        written += protected + struct.pack("<I", masked(crc32c_bit_by_bit(protected)))
        return handle

    pairs = sorted(table.items())
    blocks = [pairs[start : start + keys_a_block] for start in range(0, len(pairs), keys_a_block)]
    index = [(block[-1][0], append(block)) for block in blocks]
    handles = append([]) + append(index)
    path.write_bytes(written + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC))


def write_bundle(prefix: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a checkpoint of one data file."""
    table, data = {b"": header()}, b""
    for name, array in arrays.items():
        table[name.encode()] = entry(array, offset=len(data))
        data += array.tobytes()
    write_table(Path(f"{prefix}.index"), table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
