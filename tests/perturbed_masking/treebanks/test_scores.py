"""Scores of trees, against sets written out and against the baselines of real treebanks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.treebanks.scores import (
    AttachmentScores,
    corpus_interval,
    score_constituents,
    score_heads,
    sentence_mean,
    without_words,
)
from nlpkit.perturbed_masking.treebanks.sentence_scores import sentence_f1, sentence_interval
from nlpkit.perturbed_masking.trees.constituents import left_branching, random_branching, right_branching
from nlpkit.perturbed_masking.trees.dependencies import random_tree
from nlpkit.perturbed_masking.trees.tree import Tree
from tests.reference.all_trees import is_tree

lengths_and_seeds = st.tuples(st.integers(1, 12), st.integers(0, 10**6), st.integers(0, 10**6))


@given(lengths_and_seeds, st.randoms(use_true_random=False))
def test_attachment_counts_are_those_of_arc_sets(case: tuple[int, int, int], choice: object) -> None:
    length, one, other = case
    gold, predicted = random_tree(length, one), random_tree(length, other)
    scored = [choice.random() < 0.7 for _ in range(length)]  # type: ignore[attr-defined]
    arcs = {(unit, head) for unit, head in enumerate(gold, start=1)}
    turned = {(head, unit) for unit, head in arcs}
    above = {(unit, gold[head - 1]) for unit, head in arcs if head > 0}
    guesses = {(unit, head) for unit, head in enumerate(predicted, start=1) if scored[unit - 1]}
    assert score_heads(gold, predicted, scored=scored) == AttachmentScores(
        len(guesses), len(guesses & arcs), len(guesses & (arcs | turned)), len(guesses & (arcs | turned | above))
    )


def test_sums_start_at_nothing() -> None:
    assert AttachmentScores() == AttachmentScores(words=0, directed=0, undirected=0, neutral=0)
    scores = [score_heads([2, 0], [2, 0]), score_heads([0, 1, 1], [2, 0, 1])]
    assert sum(scores, AttachmentScores()) == AttachmentScores(5, 3, 4, 5) == scores[0] + scores[1]


def test_heads_beyond_the_sentence_are_wrong_and_perfect_trees_are_right() -> None:
    assert score_heads([0, 1, 2], [0, 3, 4]) == AttachmentScores(3, 1, 2, 2)
    perfect = score_heads([2, 0, 2], [2, 0, 2])
    assert (perfect.uas, perfect.uuas, perfect.ned) == (1.0, 1.0, 1.0)
    assert AttachmentScores().uas == AttachmentScores().uuas == AttachmentScores().ned == 0.0


@given(lengths_and_seeds, st.randoms(use_true_random=False))
def test_taking_words_out_leaves_a_tree_of_the_nearest_ancestors(case: tuple[int, int, int], choice: object) -> None:
    length, seed, _ = case
    heads = random_tree(length, seed)
    keep = [choice.random() < 0.6 for _ in range(length)]  # type: ignore[attr-defined]
    shorter = without_words(heads, keep)
    kept = [unit for unit in range(1, length + 1) if keep[unit - 1]]
    assert len(shorter) == len(kept)
    assert not kept or is_tree(shorter)
    for unit, head in zip(kept, shorter, strict=True):
        ancestor = heads[unit - 1]
        while ancestor and not keep[ancestor - 1]:
            ancestor = heads[ancestor - 1]
        if ancestor:
            assert kept[head - 1] == ancestor


def test_constituents_count_as_sets_of_ranges() -> None:
    flat = Tree(0, 4, tuple(Tree.leaf(unit) for unit in range(4)))
    assert score_constituents(flat, right_branching(4)) == SpanScores(0, 2, 0)
    assert score_constituents(flat, right_branching(4), trivial=True) == SpanScores(1, 3, 1)
    assert score_constituents(right_branching(4), right_branching(4)).f1 == 1.0
    assert score_constituents(left_branching(4), right_branching(4), trivial=True) == SpanScores(3, 3, 1)
    for seed in range(50):
        one, other = random_branching(8, seed), random_branching(8, seed + 1)
        both = len(one.spans() & other.spans())
        assert score_constituents(one, other) == SpanScores(6, 6, both)


def test_sentences_with_nothing_in_them() -> None:
    scores = [score_constituents(right_branching(2), right_branching(2)), SpanScores(2, 2, 1)]
    assert sentence_mean(scores, lambda score: score.f1) == 0.5
    assert sentence_mean(scores, lambda score: score.f1, nothing=1.0) == 0.75
    assert sentence_mean([], lambda score: score.f1) == 0.0


def test_sentences_are_averaged_as_in_the_literature() -> None:
    flat, nested = Tree(0, 3, tuple(map(Tree.leaf, range(3)))), right_branching(3)
    two = score_constituents(right_branching(2), right_branching(2))
    scores = [two, score_constituents(flat, nested), score_constituents(nested, nested)]
    assert [sentence_f1(score) for score in scores] == [1.0, 0.0, 1.0]
    interval = sentence_interval(scores, sentence_f1)
    assert interval.value == 2 / 3 and interval.low < interval.value < interval.high
    assert sentence_interval([], sentence_f1).value == 0.0


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(100):
        scores = [AttachmentScores(10, int(generator.binomial(10, 0.4)), 10, 10) for _ in range(50)]
        interval = corpus_interval(scores, lambda score: score.uas, resamples=200, confidence=0.9, seed=seed)
        assert interval.low <= interval.value <= interval.high
        held += interval.low <= 0.4 <= interval.high
    assert 80 <= held <= 98


def test_intervals_narrow_with_more_sentences_and_repeat_with_the_seed() -> None:
    few = [SpanScores(4, 4, correct) for correct in (0, 1, 2, 3, 4)]
    wide, narrow = (corpus_interval(few * times, lambda score: score.f1) for times in (1, 40))
    assert wide.value == narrow.value == 0.5
    assert narrow.high - narrow.low < 0.3 * (wide.high - wide.low)
    assert corpus_interval(few, lambda score: score.f1, seed=3) == corpus_interval(few, lambda score: score.f1, seed=3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 gold heads, 3 predicted ones"):
        score_heads([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="scored has 1 items for 2 words"):
        score_heads([0, 1], [0, 1], scored=[True])
    with pytest.raises(ValueError, match="2 heads, 1 flags"):
        without_words([0, 1], [True])
    with pytest.raises(ValueError, match="form a cycle from word 3"):
        without_words([2, 1, 1], [False, False, True])
    with pytest.raises(ValueError, match="the gold tree spans words 0 to 2, the predicted one 0 to 3"):
        score_constituents(right_branching(2), right_branching(3))
    with pytest.raises(ValueError, match="scores is empty"):
        corpus_interval([], lambda score: score.f1)
    with pytest.raises(ValueError, match=r"confidence 95 must lie between 0 and 1"):
        corpus_interval([SpanScores(1, 1, 1)], lambda score: score.f1, confidence=95)
