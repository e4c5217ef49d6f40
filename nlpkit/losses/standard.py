"""The losses that the stock heads of transformers mean, right under accumulation and over processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.divergences import Divergence, bernoulli, gaussian, softmax
from nlpkit.losses.item_losses import cross_entropies, squared_errors
from nlpkit.losses.labels import checked_shares, one_per_label
from nlpkit.losses.loss import Loss


class CrossEntropyLoss(Loss):
    """Softmax cross-entropy of class indices: sequences, tokens, masked tokens, or the next token.

    Args:
        shift: logits at a position are for the label at the next one, as in causal language models.
        label_smoothing: share of the target that is spread over all classes.

    Raises:
        ValueError: labels are no classes (on a GPU the device stops instead where one is out of range), or not one for
            each row of logits.

    Example:
        >>> CrossEntropyLoss()(torch.zeros(1, 2, 4), torch.tensor([[3, -100]])).item()
        1.386...
    """

    def __init__(self, shift: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.shift, self.label_smoothing = shift, label_smoothing

    def align_labels(self, labels: Tensor) -> Tensor:
        """All labels, or those from the second position on."""
        return labels[..., 1:] if self.shift else labels

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """All logits, or those to the last position but one; tokens that a soft prompt put before are left out."""
        if not self.shift:
            return logits
        return logits[..., -labels.shape[-1] - 1 : -1, :]

    @property
    def divergence(self) -> Divergence:
        """Of distributions over classes."""
        return softmax

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, shape ``(items,)``."""
        return cross_entropies(logits, labels, label_smoothing=self.label_smoothing)


class BinaryCrossEntropyLoss(Loss):
    """Sigmoid cross-entropy of each cell of a label matrix, averaged over the cells.

    Labels are shares from 0 to 1.

    Raises:
        ValueError: labels are beyond 0 and 1, or not one for each logit.

    Example:
        >>> BinaryCrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -100.0]])).item()
        0.693...
    """

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without the last dimension, where it is the only logit of a binary label."""
        return one_per_label(logits, labels)

    @property
    def divergence(self) -> Divergence:
        """Of the answer of each cell."""
        return bernoulli()

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, shape ``(cells,)``."""
        return F.binary_cross_entropy_with_logits(logits, checked_shares(logits, labels), reduction="none")


class SquaredErrorLoss(Loss):
    """Squared error of each number that a regression head gives.

    Raises:
        ValueError: there is not one label for each number.

    Example:
        >>> SquaredErrorLoss()(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0])).item()
        2.0
    """

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without the last dimension, where it is the only number of a row."""
        return logits.squeeze(-1) if logits.dim() > labels.dim() else logits

    @property
    def divergence(self) -> Divergence:
        """Of numbers."""
        return gaussian

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Squared error, shape ``(numbers,)``."""
        return squared_errors(logits, labels)


class SpanLoss(Loss):
    """Cross-entropy of the first and the last token of an answer, averaged over both.

    Positions beyond the input count for nothing: answers that were cut off.

    Args:
        masks_padding: padding is no place for an answer, and a position there counts for nothing; otherwise it
            competes with the answer, as in the heads of transformers, so that a row's loss depends on its batch.

    Raises:
        ValueError: a batch has neither ``input_ids`` nor ``inputs_embeds`` nor ``attention_mask``.

    Example:
        >>> scores = {"start_logits": torch.zeros(2, 4), "end_logits": torch.zeros(2, 4)}
        >>> SpanLoss()(scores, torch.tensor([[0, 3], [1, 2]])).item()
        1.386...
    """

    columns: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")

    def __init__(self, masks_padding: bool = False) -> None:
        super().__init__()
        self.masks_padding = masks_padding

    def labels_of(self, batch: Mapping[str, Any]) -> Tensor:
        """First and last positions, shape ``(batch, 2)``, -100 where they lie beyond the input."""
        given = [
            batch[name] for name in ("input_ids", "inputs_embeds", "attention_mask") if batch.get(name) is not None
        ]
        if not given:
            raise ValueError("SpanLoss: no input_ids, inputs_embeds or attention_mask in the batch tells its length")
        length = given[0].shape[1]
        positions = torch.stack([batch[name].flatten().long() for name in self.columns], dim=1)
        inside = (positions >= 0) & (positions < length)
        if (own := self._own(batch)) is not None:
            inside = inside & own.gather(1, positions.clamp(0, length - 1))
        return torch.where(inside, positions, -100)

    def logits_in(self, outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        """Scores of positions, the lowest there are at padding where it is masked."""
        logits, own = self.logits_of(outputs), self._own(batch)
        return logits if own is None else logits.masked_fill(~own[:, None], torch.finfo(logits.dtype).min)

    def _own(self, batch: Mapping[str, Any]) -> Tensor | None:
        mask = batch.get("attention_mask") if self.masks_padding else None
        return None if mask is None else mask != 0

    def logits_of(self, outputs: Any) -> Tensor:
        """Scores of first and last positions, shape ``(batch, 2, length)``."""
        if isinstance(outputs, Tensor):
            return outputs
        pair = outputs[:2] if isinstance(outputs, tuple) else (outputs["start_logits"], outputs["end_logits"])
        return torch.stack(list(pair), dim=1)

    @property
    def divergence(self) -> Divergence:
        """Of distributions over positions."""
        return softmax

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, shape ``(positions,)``."""
        return cross_entropies(logits, labels)
