"""What labels are: their dtype, their range, and how they stand to logits."""

from __future__ import annotations

import torch
from torch import Tensor


def signed(labels: Tensor) -> Tensor:
    """Integers as ``torch.long``, among which -100 has a place; other labels as they are.

    ``labels != -100`` takes 156 in ``uint8`` for -100, and torch gathers by no 32-bit index.

    Args:
        labels: any shape and dtype.

    Returns:
        The same shape.

    Example:
        >>> signed(torch.tensor([156], dtype=torch.uint8)) != -100
        tensor([True])
    """
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    return labels.long() if whole else labels


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
    refuse_other_rows(logits, labels)
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
    labels = whole(labels)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"labels hold {int(labels[outside][0])}, but there are {classes} classes: give 0 to {classes - 1}, or "
            "-100 where there is no label"
        )
    return labels


def whole(labels: Tensor) -> Tensor:
    """Labels as ``torch.long``; a ``ValueError`` where they are fractions, or truth values."""
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be class indices (torch.long), not {labels.dtype}; numbers for each class are for "
            "BinaryCrossEntropyLoss and ZLPRLoss, numbers to predict for SquaredErrorLoss"
        )
    return labels.long()


def refuse_other_rows(logits: Tensor, labels: Tensor) -> None:
    """A ``ValueError`` where there is not one label for each row of logits."""
    if logits.dim() <= labels.dim():
        raise ValueError(
            "there is a label for each logit, as in multi-label data, and this loss takes one class index for each "
            "row of logits: give indices, set multi_label=True where the loss has it, or take BinaryCrossEntropyLoss"
        )
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}: give one class "
            "index for each row of logits"
        )


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


def checked_shares(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels between 0 and 1 for each logit, looked at.

    Args:
        logits: any shape.
        labels: the same shape.

    Returns:
        The labels in the dtype of the logits.

    Raises:
        ValueError: labels are of another shape, or beyond 0 and 1.

    Example:
        >>> checked_shares(torch.zeros(2), torch.tensor([1, 7]))
        Traceback (most recent call last):
        ValueError: labels hold 7: give a share from 0 to 1 for each class, or -100 where it is not known
    """
    refuse_other_cells(logits, labels)
    beyond = ~((labels >= 0) & (labels <= 1))
    if beyond.any():
        raise ValueError(
            f"labels hold {labels[beyond][0].item():.4g}: give a share from 0 to 1 for each class, or -100 where it "
            "is not known"
        )
    return labels.to(logits.dtype)


def refuse_other_cells(logits: Tensor, labels: Tensor) -> None:
    """A ``ValueError`` where there is not one label for each logit."""
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} ({labels.dtype}) do not fit scores of shape "
            f"{tuple(logits.shape)}; give a number for each class of several (multi-label), or class ids (torch.long) "
            "of one class each, to CrossEntropyLoss"
        )


def one_per_label(logits: Tensor, labels: Tensor, multi_label: bool = True) -> Tensor:
    """Logits without the last dimension, where a head gives the only number of each binary label in it."""
    alone = multi_label and logits.dim() == labels.dim() + 1 and logits.shape[-1] == 1
    return logits.squeeze(-1) if alone else logits
