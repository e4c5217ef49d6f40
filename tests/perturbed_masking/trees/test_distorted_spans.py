"""Trees of the spans that are distorted least."""

from __future__ import annotations

import numpy as np
import pytest

from nlpkit.perturbed_masking.trees.constituents import left_branching, right_branching
from nlpkit.perturbed_masking.trees.distorted_spans import least_distorted, relative_to_width
from tests.reference.all_trees import all_bracketings


def table(length: int, seed: int) -> np.ndarray:
    scores = np.random.default_rng(seed).random((length, length + 1))
    starts, ends = np.indices(scores.shape)
    return np.where(ends - starts > 1, scores, 0.0)


@pytest.mark.parametrize("seed", range(10))
def test_no_tree_is_distorted_less(seed: int) -> None:
    scores = table(6, seed)
    relative = relative_to_width(scores)
    totals = [sum(relative[start, end] for start, end in spans) for spans in all_bracketings(0, 6)]
    found = least_distorted(scores)
    assert sum(relative[start, end] for start, end in found.spans(trivial=True)) == pytest.approx(min(totals))


def test_every_width_weighs_the_same_whatever_its_unit() -> None:
    scores = table(6, 0)
    relative = relative_to_width(scores)
    for width in range(2, 7):
        starts = np.arange(6 - width + 1)
        assert np.linalg.norm(relative[starts, starts + width]) == pytest.approx(1.0)
    starts, ends = np.indices(scores.shape)
    assert least_distorted(scores * 3.0 ** (ends - starts)) == least_distorted(scores)


def test_a_bonus_bends_the_tree_and_other_shapes_are_refused() -> None:
    assert least_distorted(table(5, 1), right_bonus=99.0) == right_branching(5)
    assert least_distorted(table(5, 1), right_bonus=-99.0) == left_branching(5)
    for shape in ((3, 3), (0, 1), (3,)):
        with pytest.raises(ValueError, match=r"distortion has shape .*; give \(n, n \+ 1\)"):
            least_distorted(np.zeros(shape))
