from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.wobert.conversion.crc32c import crc32c
from tests.reference.tensor_bundle_writer import crc32c_bit_by_bit


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_the_vectors_of_rfc_3720_hold(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@given(st.binary(max_size=200))
def test_short_messages_agree_with_the_checksum_computed_bit_by_bit(data: bytes) -> None:
    assert crc32c(data) == crc32c_bit_by_bit(data)


@pytest.mark.parametrize("size", [2**20 - 1, 2**20 + 4 * 777 + 3])
def test_messages_of_more_than_one_block_agree_with_the_checksum_computed_bit_by_bit(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == crc32c_bit_by_bit(data)


def test_an_array_counts_as_its_bytes_and_is_left_as_it_was() -> None:
    array = np.random.default_rng(0).standard_normal((37, 5)).astype(np.float32)
    before = array.copy()
    assert crc32c(array) == crc32c(array.tobytes())
    assert np.array_equal(array, before)
