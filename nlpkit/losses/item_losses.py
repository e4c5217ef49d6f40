"""Torch's losses of each item, with messages that name the labels which it cannot take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.labels import checked_indices, refuse_other_rows, whole


def cross_entropies(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each item, times the weight of its class.

    Args:
        logits: in fp32 or better, shape ``(items, classes)``; -inf for a class that cannot be.
        labels: class indices, shape ``(items,)``.
        ignore_index: the label that counts for nothing.
        label_smoothing: share of the target that is spread over all classes, weighted as they are.
        class_weights: shape ``(classes,)``; ``None`` is 1.

    Returns:
        Nats, shape ``(items,)``, 0 where a label counts for nothing.

    Raises:
        ValueError: there is not one label for each row of logits, or not one weight for each class; or a label is no
            class. On a GPU the device stops instead where a label is no class: labels are not looked at before torch
            has failed.

    Example:
        >>> cross_entropies(torch.zeros(1, 2), torch.tensor([7]))
        Traceback (most recent call last):
        ValueError: labels hold 7, but there are 2 classes: give 0 to 1, or -100 where there is no label
    """
    refuse_other_rows(logits, labels)
    labels = whole(labels)
    settings: dict[str, Any] = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if class_weights is not None:
        if len(class_weights) != logits.shape[-1]:
            raise ValueError(
                f"class_weights has {len(class_weights)} weights, but logits are for {logits.shape[-1]} classes"
            )
        settings["weight"] = class_weights.to(logits.dtype)
    try:
        losses = F.cross_entropy(logits, labels, reduction="none", **settings)
    except (IndexError, RuntimeError):
        if labels.device.type == "cpu":  # a GPU that met a label out of range has stopped
            checked_indices(labels[labels != ignore_index], logits.shape[-1])
        raise
    if class_weights is None or label_smoothing:
        return losses
    counted = labels != ignore_index  # what weighs nothing is nothing, even where a label cannot be
    return losses.masked_fill(counted & (settings["weight"][labels.where(counted, 0)] == 0), 0.0)


def added_up(losses: Tensor, counted: Tensor) -> Tensor:
    """The sum of items' losses, in the order in which torch's own cross-entropy adds them up: alike to the last bit.

    Args:
        losses: of the items that count, in their order, or of all.
        counted: which of all items count, any shape.

    Returns:
        Shape ``()``.

    Example:
        >>> logits, labels = torch.arange(12.0).view(4, 3), torch.tensor([2, -100, 0, 1])
        >>> counted = labels != -100
        >>> total = added_up(cross_entropies(logits[counted], labels[counted]), counted)
        >>> bool(total / 3 == F.cross_entropy(logits, labels))
        True
    """
    counted = counted.flatten()
    if len(losses) < len(counted):
        losses = losses.new_zeros(len(counted)).masked_scatter(counted, losses)
    return F.nll_loss(-losses[:, None], torch.where(counted, 0, -100), reduction="sum")


def weights_of(labels: Tensor, counted: Tensor, class_weights: Tensor) -> Tensor:
    """The weight of each item's class.

    Args:
        labels: class indices where they count, and anything elsewhere, any shape.
        counted: which labels count, of the same shape.
        class_weights: shape ``(classes,)``.

    Returns:
        Of the labels' shape, 0 where they do not count.

    Raises:
        ValueError: a label that counts is no class (on a GPU the device stops instead where one is out of range).

    Example:
        >>> weights_of(torch.tensor([1, -100]), torch.tensor([True, False]), torch.tensor([0.5, 2.0]))
        tensor([2., 0.])
    """
    labels = whole(labels)
    if labels.device.type == "cpu":  # elsewhere a look would wait for the device
        checked_indices(labels[counted], len(class_weights), "class_weights is for")
    labels, counted = labels.to(class_weights.device), counted.to(class_weights.device)
    return class_weights[labels.where(counted, 0)] * counted


def binary_cross_entropies(logits: Tensor, labels: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Sigmoid cross-entropy of each cell.

    Args:
        logits: in fp32 or better, any shape; infinite where the answer is sure.
        labels: shares from 0 to 1, of the same shape and dtype.
        pos_weight: of the part of a cell that is 1; broadcast to the cells.

    Returns:
        Nats, of the same shape. Where a logit is infinite 0 or infinity, without a gradient.

    Example:
        >>> binary_cross_entropies(torch.tensor([0.0, -torch.inf, -torch.inf]), torch.tensor([1.0, 0.0, 1.0]))
        tensor([0.6931, 0.0000,    inf])
    """
    sure = logits.isinf()
    if logits.device.type == "cpu" and not sure.any():  # elsewhere a look would wait for the device
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none", pos_weight=pos_weight)
    losses = F.binary_cross_entropy_with_logits(
        logits.masked_fill(sure, 0.0), labels, reduction="none", pos_weight=pos_weight
    )
    return torch.where(sure, torch.where(labels == (logits > 0), 0.0, torch.inf), losses)


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
        >>> squared_errors(torch.zeros(2), torch.tensor([1.0, 2.0]))
        tensor([1., 4.])
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"labels of shape {tuple(targets.shape)} do not fit predictions of shape {tuple(predictions.shape)}: give "
            "a number for each; a head of one number has num_labels=1"
        )
    return (predictions - targets.to(predictions.dtype)).square()
