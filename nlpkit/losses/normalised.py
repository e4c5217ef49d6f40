"""Item-wise losses divided by the number of items of the whole optimizer step, whatever the micro-batches."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.losses.item_losses import added_up, binary_cross_entropies, cross_entropies, squared_errors
from nlpkit.losses.labels import checked_shares, refuse_other_cells, refuse_probabilities, signed
from nlpkit.losses.loss import at_least_fp32


def divide_by_items(total: Tensor, items: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """Divide a summed loss by the step's item count, or by the local one; no items give 0, attached to the graph.

    Args:
        total: summed loss, shape ``()``.
        items: boolean mask of the items that were summed, any shape.
        num_items_in_batch: items of all micro-batches (and processes) of the optimizer step, as
            ``transformers.Trainer`` counts them; ``None`` divides by ``items.sum()``.

    Returns:
        The normalised loss, shape ``()``.
    """
    count = items.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch, device=total.device)
    return total / count.clamp(min=1)


def cross_entropy(
    logits: Tensor, labels: Tensor, *, num_items_in_batch: Tensor | int | None = None, ignore_index: int = -100
) -> Tensor:
    """Softmax cross-entropy in fp32 or better, averaged over the labelled items of the whole optimizer step.

    Source: the normalisation that ``Trainer`` expects of a loss that receives ``num_items_in_batch``
    (huggingface/transformers #47688 tells what happens to heads that return micro-batch means instead).

    Args:
        logits: scores, shape ``(..., classes)``, any floating dtype.
        labels: class indices, shape ``(...)``; ``ignore_index`` marks items without a label.
        num_items_in_batch: labelled items of the whole optimizer step; ``None`` means those given here.
        ignore_index: the label that counts for nothing.

    Returns:
        The loss in nats per item, shape ``()``; 0 when nothing is labelled.

    Raises:
        ValueError: a label is no class, or there are not as many labels as rows of scores; or (on the CPU) scores are
            surely probabilities. On a GPU the device stops instead where a label is no class.

    Example:
        >>> cross_entropy(torch.zeros(1, 2, 4), torch.tensor([[3, -100]])).item()
        1.386...
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit scores of shape {tuple(logits.shape)}; "
            f"give one label for each row of {logits.shape[-1]} scores"
        )
    flat_logits = at_least_fp32(logits).flatten(end_dim=-2)
    flat_labels = signed(labels.flatten())
    if logits.device.type == "cpu":  # elsewhere a look would wait for the device
        refuse_probabilities(flat_logits)
    counted = flat_labels != ignore_index
    total = added_up(cross_entropies(flat_logits, flat_labels, ignore_index=ignore_index), counted)
    return divide_by_items(total, counted, num_items_in_batch)


def binary_cross_entropy(logits: Tensor, labels: Tensor, *, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Sigmoid cross-entropy in fp32 or better, averaged over the cells of the label matrix of the optimizer step.

    Args:
        logits: scores, shape ``(batch, classes)``.
        labels: targets in [0, 1], -100 where they are not known, shape ``(batch, classes)``.
        num_items_in_batch: known cells of the whole optimizer step (what ``Trainer`` counts for such labels).

    Returns:
        The loss in nats per cell, shape ``()``.

    Raises:
        ValueError: labels are of another shape, or (on the CPU) beyond 0 and 1.

    Example:
        >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, -100.0]])).item()
        0.693...
    """
    scores = at_least_fp32(logits)
    refuse_other_cells(scores, labels)
    known = signed(labels) != -100
    if labels.device.type == "cpu":  # elsewhere a look at labels would wait for the device
        checked_shares(scores[known], labels[known])
    targets = labels.to(scores.dtype).masked_fill(~known, 0.0)
    total = binary_cross_entropies(scores, targets).masked_fill(~known, 0.0).sum()
    return divide_by_items(total, known, num_items_in_batch)


def squared_error(predictions: Tensor, targets: Tensor, *, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Squared error in fp32 or better, averaged over the targets of the whole optimizer step.

    Args:
        predictions: shape ``(...)``.
        targets: the same shape, -100 where they are not known.
        num_items_in_batch: known targets of the whole optimizer step.

    Returns:
        The loss in squared units of the target, shape ``()``.

    Raises:
        ValueError: shapes differ.

    Example:
        >>> squared_error(torch.zeros(2), torch.tensor([3.0, -100.0])).item()
        9.0
    """
    known = targets != -100
    errors = squared_errors(at_least_fp32(predictions), at_least_fp32(targets))
    return divide_by_items(errors.masked_fill(~known, 0.0).sum(), known, num_items_in_batch)
