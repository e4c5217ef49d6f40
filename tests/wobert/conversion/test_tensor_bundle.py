from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.wobert.conversion.tensor_bundle import part_key


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (((0, 35), (0, None)), b"\0emb\0\1\1\2\x80\xa3\x80\x7f"),
        (((63, 64), (8191, 8192)), b"\0emb\0\1\1\2\xbf\xc0\x40\xdf\xff\xe0\x20\x00"),
        ((), b"\0emb\0\1\0"),
    ],
)
def test_the_place_of_a_part_is_coded_in_as_many_bytes_as_it_has_leading_ones(part, code) -> None:
    assert part_key("emb", part) == code


def test_zero_and_all_ones_bytes_in_a_name_are_escaped() -> None:
    assert part_key("a\0b", ()) == b"\0a\0\xffb\0\1\0"


@given(st.sets(st.integers(-1, 2**60), min_size=2))
def test_codes_sort_like_the_numbers_they_stand_for(starts: set[int]) -> None:
    codes = [part_key("emb", ((start, None),)) for start in sorted(starts)]
    assert all(before < after for before, after in pairwise(codes))
