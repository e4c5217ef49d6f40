"""Trees of words with the marks on their root."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner, right_chain
from nlpkit.perturbed_masking.trees.marks import chain_of_words, decode_words
from tests.reference.all_trees import is_tree

marked = st.lists(st.booleans(), min_size=1, max_size=9)


@given(marked, st.integers(0, 10**6), st.sampled_from([eisner, edmonds]))
def test_words_have_the_tree_of_their_own_matrix_and_marks_the_root(
    marks: list[bool], seed: int, decode: object
) -> None:
    impact = np.random.default_rng(seed).random((len(marks), len(marks)))
    heads = decode_words([impact], marks, decode)  # type: ignore[arg-type]
    assert is_tree(heads)
    words = [place for place, mark in enumerate(marks) if not mark] or list(range(len(marks)))
    inner = decode(impact[np.ix_(words, words)])  # type: ignore[operator]
    for place, head in zip(words, inner, strict=True):
        assert heads[place] == (words[head - 1] + 1 if head else 0)
    root = heads.index(0) + 1
    assert all(heads[place] == root for place in range(len(marks)) if place not in words)


@given(marked, st.data())
def test_a_given_root_is_the_root_even_if_it_is_a_mark(marks: list[bool], data: st.DataObject) -> None:
    root = data.draw(st.integers(1, len(marks)))
    for heads in (
        chain_of_words(marks, root=root),
        decode_words([np.ones((len(marks), len(marks)))] * 2, marks, eisner, root=root),
    ):
        assert is_tree(heads) and heads[root - 1] == 0


def test_without_marks_nothing_changes() -> None:
    impact = np.random.default_rng(0).random((6, 6))
    assert decode_words([impact], [False] * 6, eisner) == eisner(impact)
    assert chain_of_words([False] * 6) == right_chain(6)
    assert chain_of_words([True, True]) == right_chain(2)
    assert chain_of_words([]) == [] == decode_words([[]], [], eisner)


def test_marks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="marks has 1 items for 2 units; give one per unit"):
        decode_words([np.zeros((2, 2))], [True], eisner)


def test_the_vote_is_on_the_words_so_that_marks_cross_nothing() -> None:
    # Each matrix wants 1 -> 3 over the mark between them, and the last word as the root; words alone do not cross.
    matrix = np.ones((5, 5))
    matrix[0, 2], matrix[2, 3], matrix[3, 4] = 9.0, 9.0, 9.0
    assert decode_words([matrix, matrix], [False, True, False, False, False], eisner) == [3, 5, 4, 5, 0]
