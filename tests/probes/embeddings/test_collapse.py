"""The report on collapse, on embeddings whose spread is known."""

from __future__ import annotations

import math

import pytest
import torch

from nlpkit.probes import collapse_report


def test_even_directions_use_every_dimension() -> None:
    report = collapse_report(torch.randn(4000, 6, generator=torch.Generator().manual_seed(0)))
    assert report.spread == pytest.approx(1, abs=0.02)
    assert report.effective_rank == pytest.approx(6, abs=0.05)
    assert not report.collapsed


def test_a_point_and_a_line_have_collapsed() -> None:
    point = collapse_report(torch.ones(5, 3), torch.ones(5, 3))
    assert (point.spread, point.effective_rank, point.uniformity, point.alignment) == (
        pytest.approx(0, abs=1e-7), pytest.approx(1), pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-9)
    )  # fmt: skip
    line = collapse_report(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert point.collapsed and line.collapsed and line.effective_rank == pytest.approx(1)


def test_uniformity_and_alignment_are_the_published_sums() -> None:
    report = collapse_report(torch.eye(3), torch.eye(3).roll(1, dims=0))
    assert report.uniformity == pytest.approx(math.log(math.exp(-2 * 2)))
    assert report.alignment == pytest.approx(2)


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"embeddings of shape \(1, 3\): give two texts or more"):
        collapse_report(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"others of shape \(2, 2\) must be views of all 3 texts"):
        collapse_report(torch.ones(3, 2), torch.ones(2, 2))


def test_reports_do_not_depend_on_size_or_kind() -> None:
    wanted = collapse_report(torch.eye(3))
    assert not wanted.collapsed
    for points in (torch.eye(3) * 1e-13, torch.eye(3) * 1e30, torch.eye(3).numpy(), torch.eye(3).tolist()):
        found = collapse_report(points)
        assert (found.spread, found.effective_rank) == pytest.approx((wanted.spread, wanted.effective_rank))
    with pytest.raises(ValueError, match=r"embeddings: row 1 holds NaN or infinity"):
        collapse_report(torch.tensor([[1.0, 0.0], [torch.nan, 0.0]]))
