"""The loss over all levels, of tensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import chunked_cross_entropy
from nlpkit.losses.item_losses import added_up, cross_entropies
from nlpkit.losses.loss import at_least_fp32
from nlpkit.teaforn.levels import Level, repeated


class Head(NamedTuple):
    """The output layer of a decoder: logits are ``hidden @ weight.T + bias``.

    Attributes:
        weight: shape ``(classes, width)``.
        bias: shape ``(classes,)``.
    """

    weight: Tensor
    bias: Tensor | None = None


def teaforn_loss(
    found: Sequence[Level],
    labels: Tensor,
    weights: Sequence[float] | None = None,
    *,
    replaced: Tensor,
    drop_repeats: bool = True,
    num_items_in_batch: Tensor | int | None = None,
    head: Head | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The weighted sum of the levels' cross-entropies, divided by the tokens of the whole optimizer step.

    Source: TeaForN, arXiv 2010.03494, equation of section 3, with the paper's sum over ``t`` and ``s``, in which each
    pair of a token and a distance stands once: level ``s`` counts from the token ``s`` of the target on. The post's
    sum (``drop_repeats=False``) also has what level ``s`` repeats of the one before, its first ``s - 1`` tokens.

    Args:
        found: as ``levels`` returns them.
        labels: ids of the tokens to predict, the same for each level, -100 for none, shape ``(batch, length)``.
        weights: of the levels; ``None`` means 1 each.
        replaced: as for ``levels``.
        drop_repeats: leave out what a level repeats of the one before.
        num_items_in_batch: labels beside -100 of the whole optimizer step; ``None`` means those given. It counts
            tokens, not levels: the loss is as large as the sum of the weights times one level's.
        head: for levels without logits.
        chunk: tokens whose logits are held at a time; needs ``head``. ``None`` holds those of a level.

    Returns:
        Nats per token, shape ``()``; 0, attached to the graph, where there is no label.

    Raises:
        ValueError: not as many weights as levels; levels have no logits, and there is no head; or a label is no class.

    Example:
        >>> found = [Level(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))] * 2
        >>> replaced = torch.tensor([[False, True]])
        >>> loss = teaforn_loss(found, torch.tensor([[1, 3]]), replaced=replaced)
        >>> round(loss.item() / torch.log(torch.tensor(4.0)).item(), 4)  # two tokens, and the second one once more
        1.5
    """
    weights = [1.0] * len(found) if weights is None else weights
    if len(weights) != len(found):
        raise ValueError(f"weights has {len(weights)} numbers for {len(found)} levels: give one for each")
    if chunk is not None and head is None:
        raise ValueError(f"chunk={chunk} needs head=Head(weight, bias), by which logits are made a few at a time")
    total = torch.stack(
        [
            weight * _total(level, labels.masked_fill(repeated(replaced, number) & drop_repeats, -100), head, chunk)
            for number, (level, weight) in enumerate(zip(found, weights, strict=True), start=1)
        ]
    ).sum()
    count = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def _total(level: Level, labels: Tensor, head: Head | None, chunk: int | None) -> Tensor:
    if chunk is not None and head is not None:
        return chunked_cross_entropy(level.hidden, head.weight, labels, bias=head.bias, chunk=chunk)
    if level.logits is None and head is None:
        raise ValueError("the levels have no logits: give head=Head(weight, bias), or let run return them")
    logits = F.linear(level.hidden, *head) if level.logits is None and head is not None else level.logits
    if logits is None or logits.shape[:-1] != labels.shape:
        shape = None if logits is None else tuple(logits.shape)
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit logits of shape {shape}")
    counted = labels != -100
    return added_up(cross_entropies(at_least_fp32(logits[counted]), labels[counted]), counted)
