"""Hubness by counting, what must hold of it, and its growth with the dimension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.tasks.similarity import hubness, hubness_of, k_occurrences, plot_occurrences
from tests.reference import retrieval as oracle


@pytest.mark.parametrize("same", [True, False])
def test_occurrences_are_those_of_counting(same: bool) -> None:
    """With copies of points among them, in numbers whose products are exact."""
    index, queries = np.random.default_rng(3).integers(-2, 3, size=(2, 60, 4)).astype(float)
    rows = oracle.all_scores(index if same else queries, index, "dot", same=same)
    counts = oracle.occurrences(rows, 4)
    report = hubness(index, 4, queries=None if same else queries, metric="dot")
    assert report.occurrences.tolist() == counts
    assert report.occurrences.sum() == 60 * 4
    assert report.antihubs == counts.count(0) / 60
    assert report.hubs == sum(count > 8 for count in counts) / 60


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_figures_are_those_of_their_definitions(counts: list[int]) -> None:
    report = hubness_of(np.array(counts), 3)
    assert report.skewness == pytest.approx(oracle.skewness(counts), abs=1e-9)
    assert report.gini == pytest.approx(oracle.gini(counts), abs=1e-12)
    assert report.robin_hood == pytest.approx(oracle.robin_hood(counts), abs=1e-12)


def test_nobody_is_a_hub_on_a_circle() -> None:
    angles = torch.arange(40, dtype=torch.float64) * 2 * torch.pi / 40
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    for metric in ("cosine", "euclidean"):
        assert set(hubness(circle, 4, metric=metric).occurrences.tolist()) == {4}  # type: ignore[arg-type]


def test_hubness_grows_with_the_dimension() -> None:
    """Figures of 2,000 points are in docs/similarity.md."""
    generator = torch.Generator().manual_seed(0)
    reports = [hubness(torch.randn(1000, d, generator=generator), metric="euclidean") for d in (3, 10, 30, 90)]
    for measure in ("skewness", "antihubs", "gini", "robin_hood"):
        figures = [getattr(report, measure) for report in reports]
        assert figures == sorted(figures) and figures[-1] > 3 * abs(figures[0])


def test_no_queries_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no point occurs"):
        hubness_of(k_occurrences(torch.empty(0, 3, dtype=torch.long), 5), 3)


def test_a_picture_counts_antihubs_apart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'viz'")
    before, after = hubness_of(np.array([0, 0, 9, 0]), 2), hubness_of(np.array([2, 2, 3, 2]), 2)
    plot_occurrences({"before": before, "after": after}, tmp_path / "one.svg")
    plot_occurrences({"before": before, "after": after}, tmp_path / "two" / "one.svg")
    drawn = (tmp_path / "one.svg").read_text("utf-8")
    assert "before: skewness 1.2" in drawn and "8-15" in drawn
    assert drawn == (tmp_path / "two" / "one.svg").read_text("utf-8")
    with pytest.raises(ValueError, match=r"reports of k \[2, 3\] cannot be compared"):
        plot_occurrences({"before": before, "after": hubness_of(np.array([1, 2]), 3)}, tmp_path / "one.svg")


def test_negative_occurrences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"occurrences\[0\]=-1: give how often each point occurs, 0 or more"):
        hubness_of(np.array([-1, 3]), 1)


def test_what_counts_no_neighbours_is_refused() -> None:
    with pytest.raises(ValueError, match="places go from 9 to 9; give those of 3 points"):
        k_occurrences(np.array([[9]]), 3)
    with pytest.raises(ValueError, match="places go from -1 to 2; give those of 3 points"):
        k_occurrences(torch.tensor([[-1], [2]]), 3)
    with pytest.raises(TypeError, match=r"places are of torch.float64; give the whole numbers"):
        k_occurrences(np.array([[1.0]]), 3)
    assert k_occurrences(np.array([[1]]), 3).tolist() == [0, 1, 0]
    for counts in ([1, 2], torch.tensor([1, 2]), np.array([1, 2], np.uint8)):
        assert hubness_of(counts, 1).gini == pytest.approx(1 / 6)
    with pytest.raises(TypeError, match="occurrences are of float64; give how often each point occurs"):
        hubness_of(np.array([1.5, 2.0]), 1)
    with pytest.raises(ValueError, match="no point has another one that can be its neighbour; give two or more"):
        hubness(torch.ones(1, 3), k=1)
