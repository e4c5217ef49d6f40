"""Packing loses nothing, pads nothing and waits for nothing."""

from __future__ import annotations

from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.data.packing import pack

CLS, SEP = 2, 3


@given(st.lists(st.lists(st.integers(5, 99), max_size=30)), st.integers(3, 12))
def test_rows_without_their_cls_are_the_stream_of_documents(documents, block_size):
    rows = [row.tolist() for row in pack(documents, block_size, CLS, SEP)]
    stream = [token for document in documents if document for token in [*document, SEP]]
    assert [token for row in rows for token in row[1:]] == stream
    assert all(row[0] == CLS for row in rows)
    assert all(len(row) == block_size for row in rows[:-1])
    assert all(2 <= len(row) <= block_size for row in rows[-1:])


def test_an_endless_stream_is_packed_as_it_comes():
    rows = pack(([number] for number in count(10)), 5, CLS, SEP)
    assert [row.tolist() for row in islice(rows, 2)] == [[CLS, 10, SEP, 11, SEP], [CLS, 12, SEP, 13, SEP]]


@pytest.mark.parametrize("block_size", [2, 0, -5])
def test_a_block_without_room_for_text_is_refused(block_size):
    with pytest.raises(ValueError, match=f"block_size must be at least 3.*got {block_size}"):
        pack([[5]], block_size, CLS, SEP)


def test_a_vocabulary_without_special_tokens_is_packed_without_gaps():
    rows = [row.tolist() for row in pack([[5, 6, 7], [], [8, 9]], block_size=2, cls_id=None, sep_id=None)]
    assert rows == [[5, 6], [7, 8], [9]]
    with pytest.raises(ValueError, match="block_size must be at least 1, to hold a token"):
        pack([], block_size=0, cls_id=None, sep_id=None)
