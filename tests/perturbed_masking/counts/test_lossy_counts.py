"""Counts in bounded memory, against plain counting."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.counts.lossy_counts import LossyCounts

streams = st.lists(st.lists(st.integers(0, 12), max_size=20), max_size=8)


def counted(stream: list[list[int]], most: int | None) -> LossyCounts:
    counts = LossyCounts(most)
    for part in stream:
        keys, numbers = np.unique(np.array(part, dtype=np.uint64), return_counts=True)
        counts.add(keys, numbers)
        assert most is None or len(counts) <= most
    return counts


@given(streams)
def test_without_a_limit_counts_are_exact(stream: list[list[int]]) -> None:
    counts = counted(stream, None)
    expected = Counter(item for part in stream for item in part)
    assert dict(zip(counts.keys.tolist(), counts.counts.tolist(), strict=True)) == expected
    assert counts.floor == 0 and not counts.missed.any()


@given(streams, st.integers(1, 12))
def test_with_a_limit_counts_are_within_the_stated_bounds(stream: list[list[int]], most: int) -> None:
    counts = counted(stream, most)
    expected = Counter(item for part in stream for item in part)
    everything = np.arange(13, dtype=np.uint64)
    least, greatest = counts.bounds(everything)
    assert (least == counts.look_up(everything)).all()
    for item in range(13):
        assert least[item] <= expected[item] <= greatest[item]
        assert item in counts.keys or expected[item] <= counts.floor
    # An item held all along is exact, whatever was dropped beside it.
    exact = counts.keys[counts.missed == 0].tolist()
    assert all(counts.look_up(np.array([item], dtype=np.uint64))[0] == expected[item] for item in exact)


def test_the_frequent_stay_and_the_rest_is_bounded() -> None:
    stream = [[1] * 9 + [2] * 7 + [number] for number in range(10, 40)]
    counts = counted(stream, 8)
    assert counts.look_up(np.array([1, 2], dtype=np.uint64)).tolist() == [270, 210]
    assert 0 < counts.floor < 20 and len(counts) <= 8


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="most is 0; give the number of items to hold"):
        LossyCounts(0)
