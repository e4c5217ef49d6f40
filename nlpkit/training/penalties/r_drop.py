"""R-Drop: two passes with different dropout must agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.technique import Batch, Host, Items, Technique, Terms


class RDrop(Technique):
    """Run every row twice, with different dropout, and add the symmetric divergence of the two predictions.

    Source: R-Drop, arXiv 2106.14448, equation 4, and kexue.fm/archives/8496, whose code this equals: the loss is the
    mean cross-entropy of both passes plus ``weight / 4 * (KL(p || q) + KL(q || p))``, averaged over items. The paper's
    alpha, beside the *sum* of the two cross-entropies, is the same number.

    Args:
        weight: the paper's alpha; 4 in the post.

    Raises:
        ValueError: in training, where both passes agree to the bit, since the model has no dropout; or where the loss
            is none over logits and labels, as PET's objectives.

    Note:
        A step takes about twice as long, and holds twice the rows' activations. Items without a label (-100) have
        no divergence either.

    Example:
        >>> RDrop(weight=4.0).name
        'r_drop'
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def prepare(self, trainer: Host) -> None:
        """Needs the trainer's loss, which knows where logits and labels are."""
        self._trainer = trainer

    def batch(self, batch: Batch) -> Batch:
        """Every row twice: all rows, then all again."""
        return {name: _twice(value) for name, value in batch.items()}

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Pairs of predictions."""
        return {self.name: self._chosen(batch).sum() // 2}

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds the divergence, averaged over pairs of predictions."""
        loss = self._trainer.task_loss
        labels = loss.align_labels(loss.labels_of(batch))
        logits = loss.align_logits(loss.logits_of(outputs), labels)
        pairs = at_least_fp32(logits)[self._chosen(batch)].unflatten(0, (2, -1))  # (2, pairs, ..., classes)
        if len(pairs[0]) and torch.equal(pairs[0], pairs[1]):
            raise ValueError(
                "R-Drop: both passes are equal to the bit, so the model has no dropout (many decoders and ModernBERT "
                "have none by default): set its dropout probabilities, e.g. hidden_dropout_prob=0.1"
            )
        return terms | {self.name: self.weight / 4 * symmetric_divergence(*pairs) / items[self.name]}

    def _chosen(self, batch: Batch) -> Tensor:
        loss = self._trainer.task_loss
        if not loss.columns:
            raise ValueError(f"R-Drop compares logits by their labels, and {type(loss).__name__} names no labels")
        return loss.valid(loss.align_labels(loss.labels_of(batch)))


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Kullback-Leibler divergence of softmax distributions, in both directions, summed over items.

    Args:
        first: logits, shape ``(items, ..., classes)``.
        second: logits, the same shape.

    Returns:
        ``KL(p || q) + KL(q || p)`` in nats, shape ``()``.

    Example:
        >>> symmetric_divergence(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).item()
        0.231...
    """
    p, q = first.log_softmax(dim=-1), second.log_softmax(dim=-1)
    # (p - q)(log p - log q), summed over classes: one product, and no cancellation of two sums.
    return ((p.exp() - q.exp()) * (p - q)).sum()


def _twice(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.cat([value, value]) if value.dim() else value
    return [*value, *value] if isinstance(value, list) else value
