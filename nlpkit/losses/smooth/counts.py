"""Accuracy, precision, recall and F1 with probabilities in place of decisions."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.losses.labels import checked_indices, refuse_probabilities, signed
from nlpkit.losses.loss import at_least_fp32


def smooth_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean probability of the right class.

    Source: kexue.fm/archives/6620.

    Args:
        logits: shape ``(..., classes)``.
        labels: class indices, -100 for none, shape ``(...)``.

    Returns:
        Shape ``()``; 0 where no label is.

    Raises:
        ValueError: labels are of another shape, or no classes; or logits are surely probabilities.

    Note:
        Its gradient vanishes where the model is surely wrong, so train by cross-entropy first.

    Example:
        >>> smooth_accuracy(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1])).item()
        0.7499...
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}: give one class "
            f"for each row of logits"
        )
    refuse_probabilities(logits)
    labels = signed(labels)
    chosen = labels != -100
    classes = checked_indices(labels[chosen], logits.shape[-1])
    right = at_least_fp32(logits)[chosen].softmax(dim=-1).gather(-1, classes.unsqueeze(-1))
    return right.sum() / chosen.sum().clamp(min=1)


def smooth_precision(
    probabilities: Tensor, labels: Tensor, *, dim: int | None = None, mask: Tensor | None = None
) -> Tensor:
    """``sum(label * probability) / sum(probability)``.

    Source: kexue.fm/archives/6620.

    Args:
        probabilities: that something is there, in [0, 1].
        labels: whether it is, in [0, 1]; of the same shape. Cells that are -100 count for nothing.
        dim: over which is counted, as 0 for each class of a matrix of rows and classes; ``None`` counts all cells.
        mask: ``False`` where a cell counts for nothing.

    Returns:
        The shape without ``dim``; 0 where all counted probabilities are 0.

    Note:
        The quotient of a batch is not the mean of those of its parts: these numbers are for logs and for whole sets.

    Example:
        >>> smooth_precision(torch.tensor([0.8, 0.4, 0.2]), torch.tensor([1.0, 0.0, 1.0])).item()
        0.714...
    """
    hits, said, _ = _counts(probabilities, labels, dim, mask)
    return _quotient(hits, said)


def smooth_recall(
    probabilities: Tensor, labels: Tensor, *, dim: int | None = None, mask: Tensor | None = None
) -> Tensor:
    """``sum(label * probability) / sum(label)``.

    Source: kexue.fm/archives/6620.

    Args:
        probabilities: as for ``smooth_precision``.
        labels: as for ``smooth_precision``.
        dim: as for ``smooth_precision``.
        mask: as for ``smooth_precision``.

    Returns:
        The shape without ``dim``; 0 where nothing is there.

    Example:
        >>> smooth_recall(torch.tensor([0.8, 0.4, 0.2]), torch.tensor([1.0, 0.0, 1.0])).item()
        0.5
    """
    hits, _, there = _counts(probabilities, labels, dim, mask)
    return _quotient(hits, there)


def smooth_f1(probabilities: Tensor, labels: Tensor, *, dim: int | None = None, mask: Tensor | None = None) -> Tensor:
    """``2 * sum(label * probability) / sum(label + probability)``.

    Source: kexue.fm/archives/6620.

    Args:
        probabilities: as for ``smooth_precision``.
        labels: as for ``smooth_precision``.
        dim: as for ``smooth_precision``.
        mask: as for ``smooth_precision``.

    Returns:
        The shape without ``dim``; 0 where nothing is there and all counted probabilities are 0.

    Example:
        >>> smooth_f1(torch.tensor([0.8, 0.4, 0.2]), torch.tensor([1.0, 0.0, 1.0])).item()
        0.588...
    """
    hits, said, there = _counts(probabilities, labels, dim, mask)
    return _quotient(2 * hits, said + there)


def _counts(
    probabilities: Tensor, labels: Tensor, dim: int | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    for name, tensor in (("labels", labels), ("mask", mask)):
        if tensor is not None and tensor.shape != probabilities.shape:
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)} do not fit probabilities of shape "
                f"{tuple(probabilities.shape)}: give a number for each of them"
            )
    labels = signed(labels)
    counted = labels != -100 if mask is None else (labels != -100) & mask.bool()
    said = torch.where(counted, at_least_fp32(probabilities), 0.0)
    there = torch.where(counted, labels, 0).to(said.dtype)
    if ((said < 0) | (said > 1)).any():
        raise ValueError("probabilities must be in [0, 1]: give logits through a sigmoid or a softmax")
    over = tuple(range(said.dim())) if dim is None else dim
    return (said * there).sum(dim=over), said.sum(dim=over), there.sum(dim=over)


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    nothing = denominator == 0
    return torch.where(nothing, 0.0, numerator / torch.where(nothing, 1.0, denominator))
