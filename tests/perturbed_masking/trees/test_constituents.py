"""Constituency decoders against every bracketing, sums written out, and the output of the published code."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from nlpkit.perturbed_masking.trees.constituents import (
    best_bracketing,
    cky,
    left_branching,
    mart,
    random_branching,
    right_branching,
    span_scores,
    split_gains,
    top_down,
)
from nlpkit.perturbed_masking.trees.corrections import average_product_correction, relative_to_mean
from nlpkit.perturbed_masking.trees.decoders import leaning_cky
from nlpkit.perturbed_masking.trees.published import su_mart, wu_mart
from nlpkit.perturbed_masking.trees.tree import Tree
from tests.reference.all_trees import all_bracketings

PUBLISHED = json.loads((Path(__file__).parent / "fixtures" / "published_decoders.json").read_text("utf-8"))

Range = range


def mean_impact(impact: np.ndarray, rows: Range, columns: Range) -> float:
    """The mean over pairs of different units, written out; 0 where there are none."""
    values = [impact[i, j] for i, j in product(rows, columns) if i != j]
    return sum(values) / len(values) if values else 0.0


def slow_gain(impact: np.ndarray, start: int, middle: int, end: int) -> float:
    left, right = range(start, middle), range(middle, end)
    inside = mean_impact(impact, left, left) + mean_impact(impact, right, right)
    return inside - mean_impact(impact, left, right) - mean_impact(impact, right, left)


def slow_span_score(impact: np.ndarray, start: int, end: int) -> float:
    inside = range(start, end)
    outside = [unit for unit in range(len(impact)) if unit not in inside]
    across = [impact[i, j] for i, j in product(inside, outside)] + [impact[i, j] for i, j in product(outside, inside)]
    return mean_impact(impact, inside, inside) - (sum(across) / len(across) if across else 0.0)


@pytest.mark.parametrize("length", [2, 3, 5, 8])
def test_split_gains_and_span_scores_are_the_means_they_say(length: int) -> None:
    impact = np.random.default_rng(length).normal(size=(length, length))
    gains = [slow_gain(impact, 0, middle, length) for middle in range(1, length)]
    np.testing.assert_allclose(split_gains(impact), gains)
    table = span_scores(impact)
    for start, end in product(range(length), range(length + 1)):
        expected = slow_span_score(impact, start, end) if end - start > 1 else 0.0
        assert table[start, end] == pytest.approx(expected)


@pytest.mark.parametrize(("length", "count"), [(2, 200), (3, 500), (4, 500), (5, 500), (6, 300), (7, 200)])
def test_cky_finds_the_best_of_all_bracketings(length: int, count: int) -> None:
    generator = np.random.default_rng(length)
    bracketings = all_bracketings(0, length)
    for _ in range(count):
        whole = generator.integers(-2, 3, (length, length + 1)).astype(float)
        scores = whole if generator.random() < 0.5 else generator.normal(size=(length, length + 1))
        found = best_bracketing(scores).spans(trivial=True)
        assert found in bracketings
        best = max(sum(scores[span] for span in spans) for spans in bracketings)
        assert sum(scores[span] for span in found) == pytest.approx(best)


def share_behind_the_cuts(spans: frozenset[tuple[int, int]]) -> float:
    """Of each constituent's units the share in its right part, summed up."""
    total = 0.0
    for start, end in spans:
        left_ends = [stop for begin, stop in spans if begin == start and stop < end]
        total += (end - max(left_ends, default=start + 1)) / (end - start)
    return total


@pytest.mark.parametrize("right_bonus", [-2.0, 0.3, 1.0, 3.0])
def test_cky_weighs_branching_to_the_right_in_all_bracketings(right_bonus: float) -> None:
    generator = np.random.default_rng(7)
    for length in (2, 3, 4, 5, 6, 7):
        bracketings = all_bracketings(0, length)
        for _ in range(100):
            impact = generator.normal(size=(length, length))
            scores = span_scores(impact)
            totals = [
                sum(scores[span] for span in spans) + right_bonus * share_behind_the_cuts(spans)
                for spans in bracketings
            ]
            found = cky(impact, right_bonus=right_bonus).spans(trivial=True)
            assert totals[bracketings.index(frozenset(found))] == pytest.approx(max(totals))


def test_a_large_right_bonus_gives_a_branching_and_a_turned_sentence_the_turned_tree() -> None:
    generator = np.random.default_rng(8)
    for _ in range(30):
        impact = generator.random((10, 10))
        assert cky(impact, right_bonus=1e4) == right_branching(10)
        assert cky(impact, right_bonus=-1e4) == left_branching(10)
        turned = cky(impact[::-1, ::-1], right_bonus=-0.5).spans()
        assert turned == {(10 - end, 10 - start) for start, end in cky(impact, right_bonus=0.5).spans()}


def test_leaning_cky_leans_the_same_whatever_the_scale() -> None:
    generator = np.random.default_rng(9)
    for _ in range(30):
        impact = generator.gamma(2.0, size=(9, 9))
        corrected = average_product_correction(relative_to_mean(impact))
        expected = cky(corrected, right_bonus=1.5)
        assert leaning_cky(impact, right_bonus=1.5) == leaning_cky(70 * impact, right_bonus=1.5) == expected


def test_cky_maximises_the_span_scores_of_the_impact() -> None:
    generator = np.random.default_rng(0)
    for _ in range(100):
        impact = generator.random((6, 6))
        best = max(all_bracketings(0, 6), key=lambda spans: sum(slow_span_score(impact, *span) for span in spans))
        assert cky(impact).spans(trivial=True) == best


@pytest.mark.parametrize("length", [1, 2, 3, 6, 9])
def test_parsers_from_the_top_cut_where_the_gain_is_greatest(length: int) -> None:
    generator = np.random.default_rng(length)

    def slow(start: int, end: int, pivot: bool) -> set[tuple[int, int]]:
        if end - start < 2:
            return set()
        middle = max(range(start + 1, end), key=lambda place: slow_gain(impact, start, place, end))
        spans = {(start, end)} | slow(start, middle, pivot)
        if not pivot:
            return spans | slow(middle, end, pivot)
        return spans | ({(middle, end)} if end - middle > 1 else set()) | slow(middle + 1, end, pivot)

    for _ in range(30):
        impact = generator.random((length, length))
        assert mart(impact).spans(trivial=True) == slow(0, length, True)
        assert top_down(impact).spans(trivial=True) == slow(0, length, False)


def test_a_turned_sentence_has_the_turned_tree_without_a_pivot() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        impact = generator.random((10, 10))
        turned = top_down(impact[::-1, ::-1]).spans()
        assert turned == {(10 - end, 10 - start) for start, end in top_down(impact).spans()}


def test_the_pivot_favours_the_right_and_the_published_divisors_far_more() -> None:
    """On noise a parser should agree with no branching; the published MART finds most of the right one's spans."""
    generator = np.random.default_rng(0)
    noise = [generator.random((10, 10)) * 10 * (1 - np.eye(10)) for _ in range(100)]
    to_the_right = right_branching(10).spans()
    agreement = {
        decode: sum(len(decode(impact).spans() & to_the_right) for impact in noise) / (8 * len(noise))
        for decode in (top_down, mart, wu_mart)
    }
    assert 0.15 < agreement[top_down] < 0.28 < agreement[mart] < 0.4
    assert agreement[wu_mart] > 0.75


def test_a_planted_tree_is_found() -> None:
    impact = np.full((5, 5), 0.1)
    for start, end in ((0, 2), (2, 5), (3, 5)):
        impact[start:end, start:end] += 1.0
    for decode in (top_down, cky):
        assert decode(impact).outline("abcde") == "((a b) (c (d e)))"
    assert mart(impact).outline("abcde") == "((a b) (c (d e)))"


@pytest.mark.parametrize("case", PUBLISHED["cases"], ids=lambda case: f"{case['seed']}-{case['length']}")
def test_faithful_parsers_do_what_the_published_code_did(case: dict) -> None:
    generator = np.random.RandomState(case["seed"])
    impact = generator.random_sample((case["length"], case["length"])) * case["scale"]
    np.fill_diagonal(impact, 0.0)
    assert sorted(wu_mart(impact).spans(trivial=True)) == [tuple(span) for span in case["mart"]]
    assert sorted(su_mart(impact).spans(trivial=True)) == [tuple(span) for span in case["su"]]
    assert mart(impact, faithful=True) == wu_mart(impact)


def test_su_never_lets_the_last_unit_stand_alone() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        assert (7, 9) in su_mart(generator.random((9, 9))).spans()


def test_branchings() -> None:
    assert right_branching(4).spans(trivial=True) == {(0, 4), (1, 4), (2, 4)}
    assert left_branching(4).spans(trivial=True) == {(0, 4), (0, 3), (0, 2)}
    assert random_branching(9, seed=2) == random_branching(9, seed=2)
    assert {random_branching(3, seed=seed).outline("abc") for seed in range(30)} == {"(a (b c))", "((a b) c)"}
    assert len(right_branching(3000).spans()) == 2998  # deeper than the interpreter's stack


def test_one_unit_is_a_leaf_and_none_is_refused() -> None:
    for decode in (mart, top_down, cky, leaning_cky, wu_mart, su_mart):
        assert decode([[0.0]]) == Tree.leaf(0)
    for decode in (mart, top_down, wu_mart, su_mart):
        with pytest.raises(ValueError, match="length is 0; a tree needs at least one unit"):
            decode(np.zeros((0, 0)))
    with pytest.raises(ValueError, match=r"scores has shape \(0, 1\); give \(n, n \+ 1\)"):
        cky(np.zeros((0, 0)))
    with pytest.raises(ValueError, match=r"scores has shape \(0, 1\)"):
        leaning_cky(np.zeros((0, 0)))
    with pytest.raises(ValueError, match="length is 0"):
        right_branching(0)


def test_bad_matrices_are_refused() -> None:
    for decode in (mart, top_down, cky, leaning_cky):
        with pytest.raises(ValueError, match="give a square matrix"):
            decode(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"scores has shape \(3, 3\)"):
        best_bracketing(np.zeros((3, 3)))
