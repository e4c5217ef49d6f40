"""How near points are to one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nlpkit.embeddings import unit_rows

#: ``"cosine"`` and ``"dot"`` are similarities; of ``"euclidean"`` the score is the distance below zero.
Metric = Literal["cosine", "dot", "euclidean"]
METRICS = ("cosine", "dot", "euclidean")

#: Squared distances below this share of the points' own squares are computed again.
_NEAR = 1e-6
#: Numbers of differences that are held for that.
_AT_A_TIME = 2**24


def moved_to(points: Tensor, index: Tensor, name: str) -> Tensor:
    """Points in the precision of an index, and on its device.

    Raises:
        ValueError: a number is too large for that.
    """
    moved = points.to(index)
    if not moved.isfinite().all():
        raise ValueError(f"{name} holds numbers too large for {index.dtype}, of which the index is: give that in fp64")
    return moved


def prepared(metric: Metric, index: Tensor, *others: Tensor) -> list[Tensor]:
    """Points as ``similarities`` takes them: on the unit sphere for cosines, else as they are.

    Args:
        metric: one of ``METRICS``.
        index: points, shape ``(points, dimension)``.
        *others: further points, in the same space.

    Returns:
        All of them.

    Raises:
        ValueError: the metric is unknown, a point is zero and has no direction, or products of numbers so large, or
            all of them so small, are none of that precision.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
    if metric != "cosine":
        _refuse_out_of_range(metric, (index, *others))
        return [index, *others]
    for points in (index, *others):
        zero = (points == 0).all(dim=1)
        if zero.any():
            raise ValueError(f"row {int(zero.nonzero()[0])} is zero and has no cosine; leave it out, or use 'dot'")
    return [unit_rows(points) for points in (index, *others)]


def similarities(queries: Tensor, points: Tensor, metric: Metric) -> Tensor:
    """How near all queries are to all points.

    Args:
        queries: prepared, shape ``(queries, dimension)``.
        points: prepared, shape ``(points, dimension)``.

    Returns:
        Shape ``(queries, points)``; the larger, the nearer.
    """
    return -_all_distances(queries, points).to(queries.dtype) if metric == "euclidean" else queries @ points.T


def pair_similarities(first: Tensor, second: Tensor, metric: Metric) -> Tensor:
    """How near points are to others row by row.

    Args:
        first: prepared, shape ``(pairs, dimension)``.
        second: the same shape.

    Returns:
        Shape ``(pairs,)``.
    """
    if metric != "euclidean":
        return (first * second).sum(dim=1)
    return -(first.double() - second.double()).norm(dim=1).to(first.dtype)


def distances(scores: Tensor, metric: Metric, purpose: str) -> Tensor:
    """Scores as distances: one less the cosine, or Euclidean ones.

    Args:
        scores: any shape.
        purpose: what needs them, for the error.

    Returns:
        The same shape, not negative.

    Raises:
        ValueError: of ``"dot"``, whose products are not bounded.
    """
    if metric == "dot":
        raise ValueError(f"{purpose} needs distances, which metric 'dot' has not; give 'cosine' or 'euclidean'")
    return (-scores if metric == "euclidean" else 1 - scores).clamp(min=0)


def _all_distances(queries: Tensor, points: Tensor) -> Tensor:
    """Euclidean distances in fp64, those of near points by differences: out of products their digits would cancel."""
    left, right = queries.double(), points.double()
    centre = right.mean(dim=0)
    from_centre, to_centre = left - centre, right - centre
    sizes = from_centre.square().sum(dim=1)[:, None] + to_centre.square().sum(dim=1)
    squares = (sizes - 2 * from_centre @ to_centre.T).clamp(min=0)
    near = squares <= _NEAR * sizes
    if int(near.sum()) * left.shape[1] > _AT_A_TIME:
        return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = near.nonzero(as_tuple=True)
    squares[rows, columns] = (left[rows] - right[columns]).square().sum(dim=1)
    return squares.sqrt()


def _refuse_out_of_range(metric: Metric, sides: Sequence[Tensor]) -> None:
    dtype, dimension = sides[0].dtype, sides[0].shape[1]
    limits = torch.finfo(torch.float64 if metric == "euclidean" else dtype)  # in which products are taken
    largest = [float(points.abs().max()) for points in sides]
    products = [one * other for one in largest[:1] for other in largest if one and other]
    highest = max(largest) ** 2 if metric == "euclidean" else max(products, default=0.0)
    is_too_large = highest >= limits.max / (4 * dimension) or max(largest) >= torch.finfo(dtype).max / (2 * dimension)
    if is_too_large or min(products, default=1.0) <= limits.tiny / limits.eps:
        raise ValueError(
            f"embeddings hold numbers up to {max(largest):.1e}, with which metric {metric!r} cannot compute in "
            f"{dtype}: multiply all of them by one number, or use 'cosine'"
        )
