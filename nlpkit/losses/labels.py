"""What labels are: their dtype, their range, and how they stand to logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def signed(labels: Tensor | None) -> Tensor:
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
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"labels are a {type(labels).__name__}: give a tensor; where there are none there is no loss, and "
            "sentence-transformers takes SentenceTransformersLoss(model, loss)"
        )
    labels = labels if labels.layout == torch.strided else labels.to_dense()  # a sparse multi-hot matrix
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
        ValueError: there is a label for each logit, or labels are fractions or no classes.

    Example:
        >>> class_indices(torch.zeros(1, 3), torch.tensor([3]))
        Traceback (most recent call last):
        ValueError: labels hold 3, but there are 3 classes: give 0 to 2, or -100 where there is no label
    """
    refuse_other_rows(logits, labels)
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
        ValueError: labels hold 0.3: give 0 or 1 for each logit, or -100 where it is not known
    """
    if logits.shape != labels.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}: give a 0 "
            "or 1 for each logit, and no class indices"
        )
    return checked_cells(labels)


def checked_indices(labels: Tensor, classes: int, told_by: str = "there are") -> Tensor:
    """Labels as ``torch.long``; a ``ValueError`` where they are fractions, or none of so many classes.

    Args:
        labels: any shape.
        classes: how many.
        told_by: what says so, for the message, where it is not the logits.
    """
    labels = whole(labels)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"labels hold {int(labels[outside][0])}, but {told_by} {classes} classes: give 0 to {classes - 1}, or "
            "-100 where there is no label"
        )
    return labels


def label_tensor(labels: Sequence[Any] | np.ndarray | Tensor) -> Tensor:
    """Labels of a list, an array or a column of pandas, whatever its index, as ``signed`` ones.

    Args:
        labels: numbers.

    Returns:
        A tensor of their shape.

    Raises:
        ValueError: they are names.

    Example:
        >>> label_tensor(["sport", "news"])
        Traceback (most recent call last):
        ValueError: labels hold names such as 'sport': give numbers from 0 on, as in model.config.label2id
    """
    given = labels if isinstance(labels, Tensor) else np.array(labels)
    if not isinstance(given, Tensor) and given.dtype.kind in "OUS":
        name = str(given.flat[0])
        raise ValueError(f"labels hold names such as {name!r}: give numbers from 0 on, as in model.config.label2id")
    return signed(torch.as_tensor(given))


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
            f"labels hold {labels[other][0].item():.4g}: give 0 or 1 for each logit, or -100 where it is not known"
        )
    return labels == 1


def refuse_probabilities(logits: Tensor) -> None:
    """A ``ValueError`` where logits are surely probabilities: several different rows, each of which sums to 1.

    How near to 1 is told by how coarse the numbers are: those of half precision, or printed with a few decimals, are
    so in fp32 too. That logits of single answers are some, whose sigmoid is theirs, cannot be told: all in [0, 1] may
    be chance.

    Args:
        logits: shape ``(..., classes)``; the first 64 rows are looked at.

    Note:
        Refused is what chance makes of logits in [0, 1] less than once in a million: 2 rows in fp32 and fp16, 3 in
        bf16, and 3 to 5 of 5 classes with 2 or 3 decimals. Rows of 0 and 1 alone tell nothing.

    Example:
        >>> refuse_probabilities(torch.tensor([[0.213, 0.787], [0.5, 0.5], [0.9, 0.099], [1.0, 0.0]]))
        Traceback (most recent call last):
        ValueError: logits hold probabilities: all lie between 0 and 1 and each row sums to 1; give what goes into ...
    """
    rows = logits.detach().reshape(-1, logits.shape[-1])[:64]
    if len(rows) < 2 or not rows.min() >= 0 or not rows.max() <= 1:
        return
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    furthest = (rows.sum(-1) - 1).abs().max().item()
    tolerance = next((given for given in _tolerances(rows) if furthest <= given), None)
    if tolerance is None:
        return
    between = rows[((rows > 0) & (rows < 1)).any(-1)]
    if len(between) and (2 * tolerance) ** len(between.unique(dim=0)) < 1e-6:
        raise ValueError(
            "logits hold probabilities: all lie between 0 and 1 and each row sums to 1; give what goes into softmax"
        )


def _tolerances(rows: Tensor) -> Iterator[float]:
    """By how much rows of probabilities may miss 1, of each way in which they may have been rounded."""
    yield 1e-4
    for dtype in (torch.float16, torch.bfloat16):
        if torch.equal(rows.to(dtype).to(rows.dtype), rows):
            yield torch.finfo(dtype).eps / 2 + 1e-4  # half a place of each, relative to it
    for decimals in (4, 3, 2):
        shifted = rows * 10**decimals
        if (shifted - shifted.round()).abs().max() <= 10**decimals * torch.finfo(rows.dtype).eps:
            yield 0.5001 * rows.shape[-1] / 10**decimals


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


def checked_weights(name: str, given: Sequence[float] | Tensor) -> Tensor:
    """Weights of classes as a tensor, looked at.

    Args:
        name: of the argument that they were given as.
        given: shape ``(classes,)``.

    Returns:
        In fp32, or in the floating dtype that they have.

    Raises:
        ValueError: they are not one number for each class, or not finite, or below 0.

    Example:
        >>> checked_weights("alpha", [1, 2])
        tensor([1., 2.])
    """
    weights = torch.as_tensor(given)
    weights = weights if weights.is_floating_point() else weights.float()
    if weights.dim() != 1:
        raise ValueError(
            f"{name} is of shape {tuple(weights.shape)}, which tells no classes apart: give a weight for each"
        )
    if not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError(f"{name} is {weights.tolist()}; give finite weights >= 0")
    return weights
