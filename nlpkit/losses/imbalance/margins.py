"""How far the logits of an item are on the side of its label, for softmax and for cells alike."""

from __future__ import annotations

import torch
from torch import Tensor


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


def class_indices(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels that are class indices, looked at.

    Args:
        logits: shape ``(items, classes)``.
        labels: shape ``(items,)``.

    Returns:
        The labels as ``torch.long``.

    Raises:
        ValueError: there is a label for each logit, labels are fractions or no classes, or the logits are surely
            probabilities.

    Example:
        >>> class_indices(torch.zeros(1, 3), torch.tensor([3]))
        Traceback (most recent call last):
        ValueError: labels hold 3, but there are 3 classes: give 0 to 2, or -100 where there is no label
    """
    if logits.dim() <= labels.dim():
        raise ValueError(
            "there is a label for each logit, as in multi-label data, and this loss takes one class index for each "
            "row of logits: give indices, or set multi_label=True where the loss has it"
        )
    refuse_probabilities(logits)
    return checked_indices(labels, logits.shape[-1])


def cells(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels that are 0 or 1 for each logit, looked at.

    Args:
        logits: shape ``(cells,)``.
        labels: the same shape.

    Returns:
        Whether each is 1.

    Raises:
        ValueError: there is one label for a row of logits, or a label is neither 0 nor 1.

    Example:
        >>> cells(torch.zeros(2), torch.tensor([1.0, 0.3]))
        Traceback (most recent call last):
        ValueError: labels hold 0.3, and with multi_label=True each is 0 or 1, or -100 where it is not known
    """
    if logits.shape != labels.shape:
        raise ValueError(
            f"there is one label for a row of {logits.shape[-1]} logits, as class indices are, and with "
            "multi_label=True there is a 0 or 1 for each logit: give labels of the shape of the logits"
        )
    return checked_cells(labels)


def checked_indices(labels: Tensor, classes: int) -> Tensor:
    """Labels as ``torch.long``; a ``ValueError`` where they are fractions, or none of so many classes."""
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be class indices (torch.long), not {labels.dtype}")
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"labels hold {int(labels[outside][0])}, but there are {classes} classes: give 0 to {classes - 1}, or "
            "-100 where there is no label"
        )
    return labels.long()


def checked_cells(labels: Tensor) -> Tensor:
    """Whether labels are 1; a ``ValueError`` where they are neither 1 nor 0."""
    other = (labels != 0) & (labels != 1)
    if other.any():
        raise ValueError(
            f"labels hold {labels[other][0].item():.4g}, and with multi_label=True each is 0 or 1, or -100 where it "
            "is not known"
        )
    return labels == 1


def refuse_probabilities(logits: Tensor) -> None:
    """A ``ValueError`` where logits are surely probabilities: several different rows, each of which sums to 1.

    Args:
        logits: shape ``(items, classes)``.
    """
    if len(logits) < 2 or not logits.min() > 0 or not logits.max() < 1:
        return
    if ((logits.sum(-1) - 1).abs() < 1e-4).all() and (logits != logits[0]).any():
        raise ValueError(
            "logits hold probabilities: all lie between 0 and 1 and each row sums to 1; give what goes into softmax"
        )


def one_per_label(logits: Tensor, labels: Tensor, multi_label: bool = True) -> Tensor:
    """Logits without the last dimension, where a head gives the only number of each binary label in it."""
    alone = multi_label and logits.dim() == labels.dim() + 1 and logits.shape[-1] == 1
    return logits.squeeze(-1) if alone else logits
