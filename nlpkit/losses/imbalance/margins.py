"""How far the logits of an item are on the side of its label, for softmax and for cells alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.labels import cells, class_indices


def margins(logits: Tensor, labels: Tensor, multi_label: bool = False) -> Tensor:
    """Numbers whose ``sigmoid`` is the probability of each label.

    ``-log p`` is then ``softplus(-margin)`` and ``log(1 - p)`` is ``logsigmoid(-margin)``, neither of which forms
    ``1 - p`` from a rounded ``p``.

    Args:
        logits: in fp32 or better, shape ``(items, classes)``, or ``(cells,)`` where ``multi_label``.
        labels: class indices, shape ``(items,)``; or 0 and 1, shape ``(cells,)``.
        multi_label: a sigmoid for each cell in place of a softmax over classes.

    Returns:
        ``logit - logsumexp(other logits)``, or the logit with the sign of the label; shape of the labels.

    Raises:
        ValueError: as ``class_indices`` and ``cells``.

    Example:
        >>> margins(torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([1])).sigmoid()
        tensor([0.7870])
        >>> torch.tensor([0.0, 2.0, 0.0]).softmax(dim=0)[1]
        tensor(0.7870)
    """
    if multi_label:
        return torch.where(cells(logits, labels), logits, -logits)
    return top_margins(logits, labels, largest=False)


def weighed(margin: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of labels, times weights that are functions of their probability.

    Args:
        margin: as ``margins`` gives them, any shape.
        weights: the same shape; taken for 1, without a gradient, where a label has no chance (a logit of -inf).

    Returns:
        Nats, of the same shape; infinity where a label has no chance.

    Example:
        >>> weighed(torch.tensor([0.0, -torch.inf]), torch.tensor([0.5, 1.0]))
        tensor([0.3466,    inf])
    """
    # There, the slope of the weight is 0, and times infinity it would be NaN.
    return weights.masked_fill(torch.isneginf(margin), 1.0) * F.softplus(-margin)


def times(losses: Tensor, weights: Tensor) -> Tensor:
    """Losses times their weights, 0 where a weight is, whatever the loss.

    Args:
        losses: any shape; infinite where a label has no chance.
        weights: the same shape.

    Returns:
        The same shape.

    Example:
        >>> times(torch.tensor([1.0, torch.inf, torch.inf]), torch.tensor([0.5, 0.5, 0.0]))
        tensor([0.5000,    inf, 0.0000])
    """
    return losses.masked_fill(weights == 0, 0.0) * weights


def top_margins(logits: Tensor, labels: Tensor, largest: bool = True) -> Tensor:
    """How far the logit of a label is above the largest other one, or above the ``logsumexp`` of all others.

    Args:
        logits: shape ``(items, classes)``.
        labels: class indices, shape ``(items,)``.
        largest: against the largest alone, so that below 0 the label is not the prediction.

    Returns:
        Shape ``(items,)``.

    Example:
        >>> top_margins(torch.tensor([[0.0, 2.0, 1.5]]), torch.tensor([1]))
        tensor([0.5000])
    """
    chosen = class_indices(logits, labels).unsqueeze(-1)
    # Half the smallest number, not -inf: where a label has no rival, logsumexp of nothing has a gradient of NaN.
    others = logits.scatter(-1, chosen, torch.finfo(logits.dtype).min / 2)
    rival = others.amax(dim=-1) if largest else others.logsumexp(dim=-1)
    return logits.gather(-1, chosen).squeeze(-1) - rival
