"""Accuracy that rare classes count in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.labels import checked_indices, label_tensor


def balanced_accuracy(predicted: Sequence[Any] | Tensor, labels: Sequence[Any] | Tensor) -> float:
    """The mean over classes of the share of their items that are found, however rare the class.

    Args:
        predicted: class indices, any shape.
        labels: as many right ones; -100 counts for nothing, and classes that do not occur neither.

    Returns:
        A fraction.

    Raises:
        ValueError: there are no labels, or not as many predicted ones.

    Example:
        >>> balanced_accuracy([0, 0, 0, 0], [0, 0, 0, 1])
        0.5
    """
    hits, totals = _hits(predicted, labels)
    return float((hits[totals > 0] / totals[totals > 0]).mean())


def group_accuracy(
    predicted: Sequence[Any] | Tensor,
    labels: Sequence[Any] | Tensor,
    training_counts: Sequence[int] | Tensor,
    limits: tuple[float, float] = (20, 100),
) -> dict[str, float]:
    """Balanced accuracy of the classes with many, some and few items in training.

    Args:
        predicted: class indices, any shape.
        labels: as many right ones; -100 counts for nothing.
        training_counts: of each class, shape ``(classes,)``.
        limits: a class with more items than the second is in the head, one with fewer than the first in the tail, and
            others in between; 20 and 100 are usual for long-tailed sets.

    Returns:
        Fractions by ``"head"``, ``"medium"`` and ``"tail"``, without groups that have no items in ``labels``.

    Raises:
        ValueError: there are no labels, not as many predicted ones, or labels of no class that was counted; or limits
            do not rise.

    Example:
        >>> group_accuracy([0, 0, 1, 2], [0, 0, 1, 1], training_counts=[500, 50, 5])
        {'head': 1.0, 'medium': 0.5}
    """
    counts = torch.as_tensor(training_counts)
    hits, totals = _hits(predicted, labels, len(counts))
    low, high = limits
    checked_number("limits[0]", low, least=0)
    checked_number("limits[1]", high, least=low)
    groups = {"head": counts > high, "medium": (counts >= low) & (counts <= high), "tail": counts < low}
    found = {name: group & (totals > 0) for name, group in groups.items()}
    return {name: float((hits[group] / totals[group]).mean()) for name, group in found.items() if group.any()}


def _hits(
    predicted: Sequence[Any] | Tensor, labels: Sequence[Any] | Tensor, classes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Items found and items there are, of each class."""
    right, found = (label_tensor(given).flatten() for given in (labels, predicted))
    known = right != -100
    if len(right) != len(found) or not known.any():
        raise ValueError(f"{len(right)} labels, {int(known.sum())} of them known, and {len(found)} predicted ones")
    right, found = right[known], found[known]
    classes = int(right.max()) + 1 if classes is None else classes
    right = checked_indices(right, classes)
    hits, totals = (torch.bincount(chosen, minlength=classes) for chosen in (right[right == found], right))
    return hits.double(), totals.double()
