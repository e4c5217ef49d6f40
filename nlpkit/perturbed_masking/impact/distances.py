"""How far one masking moves a prediction from another: distances of states and of predicted distributions."""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor

from nlpkit.embeddings import unit_rows

Distance = Literal["euclidean", "cosine", "probability", "jensen_shannon"]
Merge = Literal["vectors", "first", "mean", "max"]

DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine", "probability", "jensen_shannon")
MERGES: tuple[Merge, ...] = ("vectors", "first", "mean", "max")
#: Those that compare what the vocabulary head predicts rather than states.
OF_PREDICTIONS = ("probability", "jensen_shannon")


def euclidean(before: Tensor, after: Tensor) -> Tensor:
    """Length of the difference.

    Args:
        before: vectors, shape ``(rows, size)``.
        after: as many others, the same shape.

    Returns:
        Shape ``(rows,)``, in the unit of the vectors.

    Example:
        >>> euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([5.])
    """
    return torch.linalg.vector_norm(before - after, dim=-1)


def cosine(before: Tensor, after: Tensor) -> Tensor:
    """One minus the cosine of the angle between two vectors, from 0 to 2.

    Args:
        before: vectors, shape ``(rows, size)``.
        after: as many others, the same shape.

    Returns:
        Shape ``(rows,)``.

    Note:
        Taken as half the squared distance of the unit vectors: ``1 - cos`` itself would lose all digits where the
        vectors are nearly equal, as they are for distant words.

    Example:
        >>> cosine(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor([1.])
    """
    return (unit_rows(before) - unit_rows(after)).square().sum(dim=-1) / 2


def probability(before: Tensor, after: Tensor) -> Tensor:
    """How much of the true token's probability a further mask takes away; negative where it adds some.

    Args:
        before: ``p(x_i | x without i)`` of each row as a vector of one element, shape ``(rows, 1)``.
        after: ``p(x_i | x without i and j)``, the same shape.

    Returns:
        Shape ``(rows,)``, from -1 to 1.

    Example:
        >>> probability(torch.tensor([[0.75]]), torch.tensor([[0.25]]))
        tensor([0.5000])
    """
    return (before - after).squeeze(dim=-1)


def jensen_shannon(before: Tensor, after: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two distributions.

    Args:
        before: logarithms of probabilities, shape ``(rows, classes)``.
        after: as many others, the same shape.

    Returns:
        Shape ``(rows,)``, in nats, from 0 to ``log 2``.

    Example:
        >>> jensen_shannon(torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]]))
        tensor([0.6931])
    """
    middle = (torch.logaddexp(before, after) - log(2)).clamp(min=torch.finfo(before.dtype).min)
    sides = [torch.where(side.isneginf(), 0.0, side.exp() * (side - middle)).sum(dim=-1) for side in (before, after)]
    # Rounding may leave a tiny negative sum where both are equal.
    return ((sides[0] + sides[1]) / 2).clamp(min=0)


def merge_values(values: Tensor, groups: Tensor, count: int, merge: Merge) -> Tensor:
    """One value per unit from those of its pieces.

    Args:
        values: one value or one vector per piece, shape ``(pieces,)`` or ``(pieces, size)``.
        groups: the unit of each piece, ascending from 0, shape ``(pieces,)``.
        count: number of units.
        merge: ``"first"`` takes that of the first piece, ``"max"`` the largest; ``"mean"`` and ``"vectors"`` average.

    Returns:
        Shape ``(count,)`` or ``(count, size)``.

    Example:
        >>> merge_values(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1]), 2, "max")
        tensor([5., 2.])
    """
    if len(values) == count:
        return values
    if merge == "first":
        starts = torch.ones_like(groups, dtype=torch.bool)
        starts[1:] = groups[1:] != groups[:-1]
        return values[starts]
    merged = values.new_zeros((count, *values.shape[1:]))
    if merge == "max":
        return merged.scatter_reduce(0, groups, values, "amax", include_self=False)
    sizes = values.new_zeros(count).index_add_(0, groups, torch.ones_like(groups, dtype=values.dtype))
    return merged.index_add_(0, groups, values) / sizes.view(-1, *[1] * (values.dim() - 1))
