"""Embeddings as points, and how near two of them are."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: ``"cosine"`` and ``"dot"`` are similarities; of ``"euclidean"`` the score is the distance below zero.
Metric = Literal["cosine", "dot", "euclidean"]
METRICS = ("cosine", "dot", "euclidean")
Embeddings = Tensor | np.ndarray


def as_points(embeddings: Embeddings, name: str, dimension: int | None = None) -> Tensor:
    """Embeddings as a tensor that can be computed with.

    Args:
        embeddings: shape ``(points, dimension)``; of half precision they become fp32.
        name: of the argument, for errors.
        dimension: what they must have.

    Returns:
        A tensor of fp32 or fp64 without gradient, where possible on the same memory.

    Raises:
        ValueError: no points, another shape or dimension, or a number that is NaN or infinite; the message says which.

    Example:
        >>> as_points(np.array([[1.0, 2.0]]), "index").shape
        torch.Size([1, 2])
        >>> as_points(torch.tensor([[1.0], [torch.nan]]), "index")
        Traceback (most recent call last):
        ValueError: index: row 1 holds NaN or infinity; encode that text again, or leave it out
    """
    if isinstance(embeddings, np.ndarray):  # torch takes no negative strides, and warns of what is read-only
        embeddings = torch.from_numpy(np.require(embeddings, requirements=["C", "W"]))
    points = torch.as_tensor(embeddings).detach()
    if points.dim() != 2 or points.shape[1] == 0:
        raise ValueError(f"{name} of shape {tuple(points.shape)}: embeddings are (points, dimension)")
    if len(points) == 0:
        raise ValueError(f"{name} holds no points")
    if dimension is not None and points.shape[1] != dimension:
        raise ValueError(
            f"{name} has {points.shape[1]} dimensions and the others have {dimension}: encode both by one model"
        )
    if points.dtype not in (torch.float32, torch.float64):
        points = points.float()
    finite = points.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(f"{name}: row {row} holds NaN or infinity; encode that text again, or leave it out")
    return points


def prepared(metric: Metric, index: Tensor, *others: Tensor) -> list[Tensor]:
    """Points as ``similarities`` takes them: on the unit sphere for cosines, around the index's mean for distances.

    Args:
        metric: one of ``METRICS``.
        index: points, shape ``(points, dimension)``.
        *others: further points, in the same space.

    Returns:
        All of them.

    Raises:
        ValueError: the metric is unknown, or a point is zero and has no direction.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
    if metric == "dot":
        return [index, *others]
    if metric == "euclidean":
        centre = index.mean(dim=0)
        return [points - centre for points in (index, *others)]
    for points in (index, *others):
        zero = (points == 0).all(dim=1)
        if zero.any():
            raise ValueError(f"row {int(zero.nonzero()[0])} is zero and has no cosine; leave it out, or use 'dot'")
    return [F.normalize(points, dim=1) for points in (index, *others)]


def similarities(queries: Tensor, points: Tensor, metric: Metric) -> Tensor:
    """How near all queries are to all points.

    Args:
        queries: prepared, shape ``(queries, dimension)``.
        points: prepared, shape ``(points, dimension)``.

    Returns:
        Shape ``(queries, points)``; the larger, the nearer.

    Note:
        Distances come out of a product of matrices, so that those of equal points are only about
        ``sqrt(eps)`` of the points' norm in size; in fp64 that is 1e-8.
    """
    return -torch.cdist(queries, points) if metric == "euclidean" else queries @ points.T


def pair_similarities(first: Tensor, second: Tensor, metric: Metric) -> Tensor:
    """How near points are to others row by row.

    Args:
        first: prepared, shape ``(pairs, dimension)``.
        second: the same shape.

    Returns:
        Shape ``(pairs,)``.
    """
    return -(first - second).norm(dim=1) if metric == "euclidean" else (first * second).sum(dim=1)


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
