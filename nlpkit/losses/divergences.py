"""How far apart two predictions of a model are, item by item."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number


class Divergence(NamedTuple):
    """A divergence of predictions ``p`` and ``q``, given by scores of shape ``(items, ...)``.

    Args:
        directed: ``KL(p || q)`` of each item, in nats, shape ``(items,)``.
        symmetric: ``KL(p || q) + KL(q || p)``, likewise.

    Example:
        >>> softmax.directed(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([0.1201])
    """

    directed: Callable[[Tensor, Tensor], Tensor]
    symmetric: Callable[[Tensor, Tensor], Tensor]


def softmax_kl(first: Tensor, second: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softmax distributions over the last dimension.

    Args:
        first: scores, shape ``(items, ..., classes)``; ``-inf`` for a class that cannot be.
        second: scores, the same shape.

    Returns:
        ``KL(p || q)`` in nats, shape ``(items,)``.

    Example:
        >>> softmax_kl(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([0.1201])
    """
    p, q = _log_softmax(first), _log_softmax(second)
    return _per_item(p.exp() * (p - q))


def symmetric_softmax_kl(first: Tensor, second: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softmax distributions in both directions; see ``softmax_kl``.

    Example:
        >>> symmetric_softmax_kl(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([0.2311])
    """
    p, q = _log_softmax(first), _log_softmax(second)
    # (p - q)(log p - log q): one product that is never negative, and no cancellation of two sums.
    return _per_item((p.exp() - q.exp()) * (p - q))


def bernoulli(scale: float = 1.0) -> Divergence:
    """The divergence of independent yes-or-no predictions, summed over the classes of an item.

    Args:
        scale: a class has the probability ``sigmoid(scale * score)``: 1 for binary cross-entropy, and 2 for ZLPR,
            whose optimum for soft labels ``t`` is ``sigmoid(2 s) = t`` (kexue.fm/archives/9064).

    Returns:
        The divergence.

    Raises:
        ValueError: the scale is not above 0.

    Example:
        >>> bernoulli().symmetric(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([0.2311])
    """

    checked_number("scale", scale, above=0)

    def scaled(scores: Tensor) -> Tensor:
        # An answer that is sure has the same logarithm in both predictions, and so no part in their difference.
        widest = torch.finfo(scores.dtype).max / 2
        return (scale * scores).clamp(-widest, widest)

    def directed(first: Tensor, second: Tensor) -> Tensor:
        a, b = scaled(first), scaled(second)
        yes = a.sigmoid() * (F.logsigmoid(a) - F.logsigmoid(b))
        return _per_item(yes + (-a).sigmoid() * (F.logsigmoid(-a) - F.logsigmoid(-b)))

    def symmetric(first: Tensor, second: Tensor) -> Tensor:
        a, b = scaled(first), scaled(second)
        return _per_item((a.sigmoid() - b.sigmoid()) * (a - b))

    return Divergence(directed, symmetric)


def of_labels(multi_label: bool) -> Divergence:
    """That of independent labels, or of one class per item.

    Example:
        >>> of_labels(multi_label=False) is softmax
        True
    """
    return bernoulli() if multi_label else softmax


#: Of predictions over classes.
softmax = Divergence(softmax_kl, symmetric_softmax_kl)
#: Of numbers, taken for the means of normal distributions of variance 1: half the squared difference, or all of it.
gaussian = Divergence(
    lambda first, second: _per_item((first - second).square() / 2),
    lambda first, second: _per_item((first - second).square()),
)


def _log_softmax(scores: Tensor) -> Tensor:
    # Classes that cannot be have the same logarithm in both predictions, and so no part in their difference.
    return scores.log_softmax(dim=-1).clamp(min=torch.finfo(scores.dtype).min)


def _per_item(values: Tensor) -> Tensor:
    return values.flatten(1).sum(dim=1) if values.dim() > 1 else values
