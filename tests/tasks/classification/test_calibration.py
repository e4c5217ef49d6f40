"""Calibration errors against loops, and what must hold of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from nlpkit.tasks.classification import (
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    plot_by_frequency,
    plot_reliability,
    reliability,
)
from tests.reference import calibration as oracle


def drawn(seed: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(classes), rows), generator.integers(0, classes, rows)


@given(seed=st.integers(0, 999), rows=st.integers(1, 60), bins=st.integers(1, 20))
def test_errors_of_classes_are_those_of_loops(seed: int, rows: int, bins: int) -> None:
    probabilities, answers = drawn(seed, rows, 4)
    hits = (probabilities.argmax(1) == answers).astype(float)
    found = expected_calibration_error(probabilities, answers, bins)
    assert found == pytest.approx(oracle.binned_error(probabilities.max(1).tolist(), hits.tolist(), bins), abs=1e-12)


@given(seed=st.integers(0, 999), bins=st.integers(1, 6), size=st.integers(1, 9))
def test_adaptive_errors_are_those_of_loops(seed: int, bins: int, size: int) -> None:
    probabilities, answers = drawn(seed, bins * size, 3)
    each = [
        oracle.equal_mass_error(probabilities[:, k].tolist(), (answers == k).astype(float).tolist(), bins)
        for k in range(3)
    ]
    assert adaptive_calibration_error(probabilities, answers, bins) == pytest.approx(np.mean(each), abs=1e-12)
    labels = np.random.default_rng(seed + 1).integers(0, 2, probabilities.shape)
    each = [oracle.equal_mass_error(probabilities[:, k].tolist(), labels[:, k].tolist(), bins) for k in range(3)]
    assert adaptive_calibration_error(probabilities, labels, bins) == pytest.approx(np.mean(each), abs=1e-12)


@given(seed=st.integers(0, 999), rows=st.integers(2, 40))
def test_brier_scores_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    probabilities, answers = drawn(seed, rows, 3)
    theirs = brier_score_loss(answers, probabilities, labels=[0, 1, 2], scale_by_half=False)
    assert brier_score(torch.tensor(probabilities), torch.tensor(answers)) == pytest.approx(theirs, abs=1e-12)
    labels = (probabilities > 0.4).astype(int) ^ 1
    theirs = np.mean([brier_score_loss(labels[:, k], probabilities[:, k], labels=[0, 1]) for k in range(3)])
    assert brier_score(probabilities, labels) == pytest.approx(theirs, abs=1e-12)


def test_the_order_of_rows_changes_nothing_where_probabilities_are_equal() -> None:
    probabilities = np.repeat([[0.7, 0.3], [0.2, 0.8]], [9, 4], axis=0)
    answers = np.array([0] * 6 + [1] * 7)
    orders = [np.random.default_rng(seed).permutation(13) for seed in range(5)]
    found = {round(adaptive_calibration_error(probabilities[order], answers[order], 5), 12) for order in orders}
    assert len(found) == 1
    bins = reliability(probabilities, answers, bins=5, adaptive=True)
    assert bins.confidence.tolist() == pytest.approx([0.7, 0.8]) and bins.sizes.tolist() == [9, 4]


def test_a_bin_holds_its_upper_end() -> None:
    bins = reliability([[0.5, 0.75, 1.0, 0.0]], [[1, 0, 1, 0]], bins=4)
    assert bins.confidence.tolist() == [0.0, 0.5, 0.75, 1.0] and bins.accuracy.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_what_is_drawn_from_its_probabilities_is_calibrated() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), 20_000)
    answers = (generator.random(20_000)[:, None] > probabilities.cumsum(1)).sum(1)
    assert expected_calibration_error(probabilities, answers) < 0.015
    assert adaptive_calibration_error(probabilities, answers) < 0.015
    sure = probabilities**3 / (probabilities**3).sum(1, keepdims=True)
    assert expected_calibration_error(sure, answers) > 0.1
    assert brier_score(sure, answers) > brier_score(probabilities, answers) + 0.02


def test_unknown_answers_count_for_nothing() -> None:
    probabilities, answers = drawn(3, 40, 3)
    masked = np.where(np.arange(40) < 30, answers, -100)
    labels = np.random.default_rng(4).integers(0, 2, (40, 3))
    for score in (expected_calibration_error, adaptive_calibration_error, brier_score):
        assert score(probabilities, masked) == score(probabilities[:30], answers[:30])
        hidden = np.where(np.arange(40)[:, None] < 30, labels, -100)
        assert score(probabilities, hidden) == pytest.approx(score(probabilities[:30], labels[:30]), abs=1e-12)
    assert adaptive_calibration_error([[0.5, 0.5]], [[1, -100]]) == 0.5


@pytest.mark.parametrize(
    ("probabilities", "answers", "told"),
    [
        ([[0.5, 0.6]], [0], r"sum to 1.1, not to 1: give the softmax"),
        ([[2.0, -1.0]], [0], r"probabilities must be in \[0, 1\]"),
        ([[float("nan"), 0.5]], [0], r"probabilities must be in \[0, 1\]"),
        ([[0.5, 0.5]], [2], r"labels hold 2, but there are 2 classes"),
        ([[0.5, 0.5]], [-100], r"no answer is known"),
        ([[0.5, 0.5]], [0, 1], r"probabilities of shape \(1, 2\) and answers of shape \(2,\)"),
        ([[0.5, 0.5]], [[0, 2]], r"labels hold 2: give 0 or 1"),
        (np.zeros((0, 2)), np.zeros(0, int), r"no answer is known: all are -100, or there are no rows"),
    ],
)
def test_bad_input_is_named(probabilities: list[list[float]], answers: list[int], told: str) -> None:
    for score in (expected_calibration_error, adaptive_calibration_error, brier_score):
        with pytest.raises(ValueError, match=told):
            score(probabilities, answers)


def test_bins_are_a_number_of_them() -> None:
    with pytest.raises(ValueError, match=r"bins=0: give a whole number at least 1"):
        expected_calibration_error([[0.5, 0.5]], [0], bins=0)


def test_pictures_are_the_same_for_the_same_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'viz'")
    probabilities, answers = drawn(0, 50, 3)
    panels = {"plain": {"as trained": reliability(probabilities, answers)}}
    for folder in ("one", "two"):
        plot_reliability(panels, tmp_path / folder / "reliability.svg")
        plot_by_frequency(
            ["天气", "b"], [3, 90], {"plain": [0.5, np.nan]}, tmp_path / folder / "classes.svg", what="F1"
        )
    drawn_twice = [(tmp_path / folder / "reliability.svg").read_text("utf-8") for folder in ("one", "two")]
    error = 100 * panels["plain"]["as trained"].error
    assert drawn_twice[0] == drawn_twice[1] and f"as trained: {error:.1f}" in drawn_twice[0]
    classes = (tmp_path / "one" / "classes.svg").read_text("utf-8")
    assert classes.index(">b<") < classes.index(">天气<")  # the frequent one first
    with pytest.raises(ValueError, match=r"2 classes were counted, but there are scores \{'plain': 1\}"):
        plot_by_frequency(["a", "b"], [3, 90], {"plain": [0.5]}, tmp_path / "classes.svg", what="F1")
    with pytest.raises(ValueError, match=r"2 classes were counted, but there are 1 names"):
        plot_by_frequency(["a"], [3, 90], {"plain": [0.5, 1.0]}, tmp_path / "classes.svg", what="F1")
    with pytest.raises(ValueError, match=r"there are no panels"):
        plot_reliability({}, tmp_path / "reliability.svg")


def test_bins_beyond_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bins=1000000000: give a whole number at least 1 and at most 100000"):
        expected_calibration_error([[0.8, 0.2]], [0], bins=10**9)
