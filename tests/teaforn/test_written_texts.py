"""Repetition and length of texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.teaforn import length_ratio, repetition


@given(st.lists(st.lists(st.integers(0, 2), max_size=8), max_size=4), st.integers(1, 4))
def test_repetition_counts_grams_that_stood_before(texts: list[list[int]], n: int) -> None:
    total = repeats = 0
    for text in texts:
        for start in range(len(text) - n + 1):
            total += 1
            repeats += any(text[earlier : earlier + n] == text[start : start + n] for earlier in range(start))
    assert repetition(texts, n) == (repeats / total if total else 0.0)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match=r"n=0: give a whole number at least 1"):
        repetition(["a"], 0)
    with pytest.raises(TypeError, match="texts is one text, 'abcabc'"):
        repetition("abcabc", 2)
    with pytest.raises(ValueError, match=r"1 texts and 2 references of 2 tokens: give as many of both"):
        length_ratio(["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"1 texts and 1 references of 0 tokens"):
        length_ratio(["a"], [""])
