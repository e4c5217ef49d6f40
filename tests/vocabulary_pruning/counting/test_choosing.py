from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.vocabulary_pruning.counting.choosing import choose_tokens, closed

COUNTS = st.lists(st.integers(0, 9), min_size=4, max_size=12).map(np.array)


def needs(number: int) -> list[int]:
    """Each id needs its half, and the half of that."""
    found = []
    while number:
        number //= 2
        found.append(number)
    return found


@given(counts=COUNTS, always=st.sets(st.integers(0, 3)), least=st.integers(1, 9))
def test_what_occurs_often_is_kept_with_what_it_needs(counts: np.ndarray, always: set[int], least: int) -> None:
    frequent = {number for number, count in enumerate(counts) if count >= least}
    assert choose_tokens(counts, always, needs, min_count=least) == sorted(closed(frequent | always, needs))


@given(counts=COUNTS.filter(any), share=st.floats(0.01, 1))
def test_coverage_is_reached_and_not_without_the_last(counts: np.ndarray, share: float) -> None:
    found = choose_tokens(counts, [0], needs, coverage=share)
    assert counts[found].sum() >= share * counts.sum() - 1e-9
    chosen, kept = sorted(range(len(counts)), key=lambda number: (-counts[number], number)), closed([0], needs)
    for number in chosen:
        if counts[sorted(kept)].sum() >= share * counts.sum() or counts[number] == 0:
            break
        kept |= closed([number], needs)
    assert found == sorted(kept)


@given(counts=COUNTS, size=st.integers(1, 12))
def test_sizes_are_kept_and_filled(counts: np.ndarray, size: int) -> None:
    found = choose_tokens(counts, [0], needs, size=size)
    assert len(found) <= size
    left = [number for number in np.flatnonzero(counts).tolist() if number not in found]
    assert all(len(closed([number], needs) | set(found)) > size for number in left)
    assert set(found) == closed(found, needs)


@given(counts=COUNTS, multiple=st.integers(1, 4))
def test_rows_are_filled_up_to_a_multiple_where_there_are_enough(counts: np.ndarray, multiple: int) -> None:
    found = choose_tokens(counts, [0], needs, min_count=5, multiple_of=multiple)
    alone = choose_tokens(counts, [0], needs, min_count=5)
    assert set(alone) <= set(found)
    assert len(found) % multiple == 0 or len(found) > len(counts) - multiple
    assert len(found) < len(alone) + multiple


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of min_count, coverage and size"),
        ({"min_count": 1, "size": 5}, "give one of min_count, coverage and size"),
        ({"min_count": 0}, "min_count=0: give a whole number at least 1"),
        ({"coverage": 0.0}, r"coverage=0\.0: give a finite number above 0 and at most 1"),
        ({"coverage": 1.5}, r"coverage=1\.5: give a finite number above 0 and at most 1; it is a share"),
        ({"size": 2}, "size=2 is below 3, the tokens that are always kept"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_tokens(np.array([1, 2, 3, 4, 5]), [3], needs, **options)
