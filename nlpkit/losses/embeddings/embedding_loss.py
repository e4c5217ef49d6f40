"""What losses over embeddings of texts share: where the embeddings are in what a model returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from nlpkit.losses.batch_loss import BatchLoss
from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.masked import masked_mean

Pooling = Literal["mean", "first"]


def pool(outputs: Any, attention_mask: Tensor | None, pooling: Pooling = "mean") -> Tensor:
    """One vector per text.

    Args:
        outputs: embeddings of texts, shape ``(batch, dim)``, or what a model of transformers returned, which begins
            with them or with states, shape ``(batch, length, dim)``.
        attention_mask: 0 at padding, shape ``(batch, length)``; ``None`` where there is none.
        pooling: ``"mean"`` of all tokens, or the ``"first"`` token.

    Returns:
        Shape ``(batch, dim)``, in fp32 or better.

    Example:
        >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> pool((states,), torch.tensor([[1, 1, 0]])).item()
        2.0
    """
    states = at_least_fp32(outputs if isinstance(outputs, Tensor) else _first(outputs))
    if states.dim() == 2:
        return states
    if pooling == "first":
        return states[:, 0]
    if attention_mask is None:
        return states.mean(dim=1)
    return masked_mean(states, attention_mask)


def _first(outputs: Any) -> Tensor:
    if not isinstance(outputs, Mapping):
        return outputs[0]
    for name in ("sentence_embedding", "embeddings", "last_hidden_state"):
        if outputs.get(name) is not None:
            return outputs[name]
    raise ValueError(
        f"no embeddings among {', '.join(outputs)}: train a model without a head (AutoModel), whose states are "
        "pooled, or one that returns 'embeddings'"
    )


class PooledLoss(Loss):
    """A loss over embeddings of texts, to which ``labels`` say which texts belong together.

    Labels of shape ``(batch,)`` are numbers of groups. Labels of shape ``(batch, 2)`` say in the second column which
    view of its group a row is: a question or an answer, the first or the second pass. Rows of group -100 are left out.

    Args:
        pooling: how states become one embedding, where the model returns states.

    Raises:
        ValueError: labels are no integers, or of another shape.

    Note:
        The first batch in which no text has another one to be compared with makes a ``UserWarning``: its loss is 0.
    """

    _warned = False  # of a batch without pairs

    def __init__(self, pooling: Pooling = "mean") -> None:
        super().__init__()
        if pooling not in ("mean", "first"):
            raise ValueError(f"pooling={pooling!r}: give 'mean' or 'first'")
        self.pooling: Pooling = pooling

    def valid(self, labels: Tensor) -> Tensor:
        """Rows that belong to a group."""
        return groups_of(labels) != -100

    def warn_without_pairs(self, pairs: Tensor, cause: str, cure: str) -> None:
        """A ``UserWarning``, once, where a batch teaches nothing; the look waits for the device.

        Args:
            pairs: how many texts have what the loss compares them with, shape ``()``.
            cause: why they may have none.
            cure: what to do.
        """
        if not self._warned and pairs == 0:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__}: {cause}, so that its loss is 0 and it teaches nothing: {cure}", stacklevel=2
            )

    def labels_per_item(self, labels: Tensor) -> int:
        """1, or 2 where views are told apart."""
        return labels.shape[1] if labels.dim() == 2 else 1

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Embeddings as they are."""
        if logits.dim() != 2:
            raise ValueError(
                f"{type(self).__name__} is over embeddings of shape (batch, dim), and these have shape "
                f"{tuple(logits.shape)}: pool them, which nlpkit.TechniqueTrainer does by the attention mask"
            )
        return logits

    def logits_of(self, outputs: Any) -> Tensor:
        """Embeddings, or states that are still to be pooled."""
        return outputs if isinstance(outputs, Tensor) else _first(outputs)

    def logits_in(self, outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        """Embeddings, pooled over the tokens of each text."""
        return pool(outputs, batch.get("attention_mask"), self.pooling)


class EmbeddingLoss(PooledLoss, BatchLoss):
    """A ``PooledLoss`` that couples all texts of a batch."""


#: Why a batch may have no pairs, and what to do.
LONELY = (
    "no text of this batch has another of its group",
    "texts that belong together have the same number in labels, and several of a group must be in one batch, as a "
    "sampler by groups puts them, or nlpkit.training.SimCSE(), which makes two views of each text",
)


def groups_of(labels: Tensor) -> Tensor:
    """Numbers of groups, shape ``(batch,)``.

    Args:
        labels: of a ``PooledLoss``.

    Raises:
        ValueError: they are no integers, or of another shape.

    Example:
        >>> groups_of(torch.tensor([0.8, 0.1]))
        Traceback (most recent call last):
        ValueError: labels must be numbers of groups (torch.long), not torch.float32: texts with the same number ...
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be numbers of groups (torch.long), not {labels.dtype}: texts with the same number belong "
            "together, and how similar two texts are is no such number; scores of pairs are for the losses of "
            "sentence-transformers, or SquaredErrorLoss of a head"
        )
    if labels.dim() not in (1, 2) or (labels.dim() == 2 and labels.shape[1] != 2):
        raise ValueError(
            f"labels are of shape {tuple(labels.shape)}: give numbers of groups, shape (batch,), or groups and views, "
            "shape (batch, 2)"
        )
    return labels[:, 0] if labels.dim() == 2 else labels


def partners(labels: Tensor, anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows belong to a row's group, and which do not though they are compared.

    Args:
        labels: as ``EmbeddingLoss`` takes them.
        anchors: numbers of rows to look at.
        candidates: numbers of rows to look at them beside.

    Returns:
        Two boolean masks, shape ``(anchors, candidates)``, of rows that are compared at all: all others, or all those
        of other views; those of the same group, and the rest.

    Example:
        >>> rows = torch.arange(3)
        >>> [mask.int().tolist() for mask in partners(torch.tensor([7, 7, 8]), rows[:1], rows)]
        [[[0, 1, 0]], [[0, 0, 1]]]
    """
    groups = groups_of(labels)
    same = groups[anchors, None] == groups[None, candidates]
    if labels.dim() == 2:
        compared = labels[anchors, 1, None] != labels[None, candidates, 1]
    else:
        compared = anchors[:, None] != candidates[None]
    return same & compared, compared & ~same
