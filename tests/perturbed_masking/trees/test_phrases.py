"""Phrases of dependency trees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.trees.dependencies import eisner, left_chain, random_tree
from nlpkit.perturbed_masking.trees.marks import decode_words
from nlpkit.perturbed_masking.trees.phrases import phrases
from tests.reference.all_trees import is_projective


def spans_under(heads: list[int]) -> set[tuple[int, int]]:
    """For each word the range of all words whose heads lead to it."""
    spans = set()
    for word in range(1, len(heads) + 1):
        under = []
        for other in range(1, len(heads) + 1):
            above = other
            while above not in (0, word):
                above = heads[above - 1]
            under += [other] if above == word else []
        if len(under) > 1:
            spans.add((under[0] - 1, under[-1]))
    return spans


@given(st.integers(1, 12), st.integers(0, 10**6))
def test_each_word_and_what_depends_on_it_is_a_phrase(length: int, seed: int) -> None:
    heads = eisner(np.random.default_rng(seed).random((length, length)))
    tree = phrases(heads)
    assert tree is not None and (tree.start, tree.end) == (0, length)
    assert tree.spans(trivial=True) == spans_under(heads)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 10**6))
def test_marks_on_the_root_join_the_phrase_around_them(marks: list[bool], seed: int) -> None:
    matrix = np.random.default_rng(seed).random((len(marks), len(marks)))
    tree = phrases(decode_words([matrix], marks, eisner))
    assert tree is not None and (tree.start, tree.end) == (0, len(marks))


@pytest.mark.parametrize("seed", range(40))
def test_other_crossing_arcs_have_no_phrases(seed: int) -> None:
    heads = random_tree(7, seed)
    if is_projective(heads):
        assert phrases(heads) is not None
    elif phrases(heads) is not None:
        root = heads.index(0) + 1
        loose = [place for place, head in enumerate(heads) if head == root and place + 1 not in heads]
        kept = [place for place in range(7) if place not in loose]
        number = {place + 1: number for number, place in enumerate(kept, start=1)} | {0: 0}
        assert is_projective([number[heads[place]] for place in kept])


def test_what_is_no_tree_has_none_and_long_chains_have() -> None:
    assert phrases([2, 1]) is None and phrases([0, 0]) is None and phrases([]) is None
    tree = phrases(left_chain(1500))
    assert tree is not None and len(tree.spans()) == 1498
