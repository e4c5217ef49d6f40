from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpkit.wobert.conversion.sstable import masked_crc32c, read_table, read_varint
from tests.reference.tensor_bundle_writer import crc32c_bit_by_bit, masked, varint, write_table

_KEYS = st.one_of(st.binary(max_size=6), st.sampled_from([b"bert/encoder/layer_%d" % i for i in range(30)]))


@given(st.dictionaries(_KEYS, st.binary(max_size=300), max_size=20), st.integers(1, 5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_gives_back_what_was_written(tmp_path: Path, table: dict[bytes, bytes], keys_a_block: int) -> None:
    write_table(tmp_path / "t", table, keys_a_block)
    assert list(read_table(tmp_path / "t").items()) == sorted(table.items())


@given(st.integers(0, 2**70), st.binary(max_size=3), st.binary(max_size=3))
def test_a_varint_ends_where_it_ends(number: int, before: bytes, after: bytes) -> None:
    buffer = before + varint(number) + after
    assert read_varint(buffer, len(before)) == (number, len(buffer) - len(after))


@given(st.binary(max_size=50))
def test_checksums_are_masked_as_leveldb_masks_them(data: bytes) -> None:
    assert masked_crc32c(data) == masked(crc32c_bit_by_bit(data))


@pytest.mark.parametrize("content", [b"", b"short", bytes(200), bytes.fromhex("57fb808b247547db")])
def test_a_file_without_the_end_mark_or_shorter_than_a_footer_is_refused_by_name(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{tmp_path}/t: not a LevelDB-style table, or cut short .* {len(content)} by"
    ):
        read_table(tmp_path / "t")


def test_a_git_lfs_pointer_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        read_table(tmp_path / "t")


def test_a_compressed_table_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t", {b"key": b"value"}, compression=1)
    with pytest.raises(ValueError, match=rf"{tmp_path}/t: compressed with Snappy"):
        read_table(tmp_path / "t")


def test_every_flipped_byte_is_noticed_unless_it_lies_in_what_tensorflow_leaves_empty(tmp_path: Path) -> None:
    table = {b"bert/%d" % i: bytes(range(i)) for i in range(9)}
    write_table(tmp_path / "t", table)
    whole = (tmp_path / "t").read_bytes()
    meta_index, index = _block_handles(whole)
    # The block of meta-data, its handle, and the padding up to the end mark say nothing about the table.
    handles = len(varint(meta_index[0])) + len(varint(meta_index[1]))
    used = handles + len(varint(index[0])) + len(varint(index[1]))
    empty = [
        *range(meta_index[0], sum(meta_index) + 5),
        *range(len(whole) - 48, len(whole) - 48 + handles),
        *range(len(whole) - 48 + used, len(whole) - 8),
    ]
    for position in range(len(whole)):
        flipped = whole[:position] + bytes([whole[position] ^ 1 << position % 7]) + whole[position + 1 :]
        (tmp_path / "t").write_bytes(flipped)
        if position in empty:
            assert read_table(tmp_path / "t") == table
        else:
            with pytest.raises(ValueError, match=f"^{tmp_path}/t: "):
                read_table(tmp_path / "t")


def _block_handles(table: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    numbers, position = [], len(table) - 48
    for _ in range(4):
        number, position = read_varint(table, position)
        numbers.append(number)
    return (numbers[0], numbers[1]), (numbers[2], numbers[3])


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    write_table(tmp_path / "t", {b"bert/%d" % i: bytes(range(i)) for i in range(9)})
    whole = (tmp_path / "t").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "t").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut short"):
            read_table(tmp_path / "t")
