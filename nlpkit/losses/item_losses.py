"""Torch's losses of each item, with messages that name the labels which it cannot take."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.labels import checked_indices, refuse_other_rows, whole


def cross_entropies(
    logits: Tensor, labels: Tensor, *, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of each item.

    Args:
        logits: in fp32 or better, shape ``(items, classes)``.
        labels: class indices, shape ``(items,)``.
        ignore_index: the label that counts for nothing.
        label_smoothing: share of the target that is spread over all classes.

    Returns:
        Nats, shape ``(items,)``, 0 where a label counts for nothing.

    Raises:
        ValueError: there is not one label for each row of logits, or it is no class. On a GPU the device stops
            instead where a label is no class: labels are not looked at before torch has failed.

    Example:
        >>> import torch
        >>> cross_entropies(torch.zeros(1, 2), torch.tensor([7]))
        Traceback (most recent call last):
        ValueError: labels hold 7, but there are 2 classes: give 0 to 1, or -100 where there is no label
    """
    refuse_other_rows(logits, labels)
    labels = whole(labels)
    settings: dict[str, Any] = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    try:
        return F.cross_entropy(logits, labels, reduction="none", **settings)
    except (IndexError, RuntimeError):
        if labels.device.type == "cpu":  # a GPU that met a label out of range has stopped
            checked_indices(labels[labels != ignore_index], logits.shape[-1])
        raise


def squared_errors(predictions: Tensor, targets: Tensor) -> Tensor:
    """Squared error of each number.

    Args:
        predictions: in fp32 or better, any shape.
        targets: the same shape.

    Returns:
        The same shape.

    Raises:
        ValueError: shapes differ, which torch would make equal by repeating numbers.

    Example:
        >>> import torch
        >>> squared_errors(torch.zeros(2), torch.tensor([1.0, 2.0]))
        tensor([1., 4.])
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"labels of shape {tuple(targets.shape)} do not fit predictions of shape {tuple(predictions.shape)}: give "
            "a number for each; a head of one number has num_labels=1"
        )
    return (predictions - targets.to(predictions.dtype)).square()
