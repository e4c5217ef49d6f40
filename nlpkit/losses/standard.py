"""The losses that the stock heads of transformers mean, right under accumulation and over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.divergences import Divergence, bernoulli, gaussian, softmax
from nlpkit.losses.item_losses import binary_cross_entropies, cross_entropies, squared_errors, weights_of
from nlpkit.losses.labels import checked_shares, checked_weights, one_per_label
from nlpkit.losses.loss import Loss, those_chosen


class CrossEntropyLoss(Loss):
    """Softmax cross-entropy of class indices: sequences, tokens, masked tokens, or the next token.

    Args:
        shift: logits at a position are for the label at the next one, as in causal language models.
        label_smoothing: share of the target that is spread over all classes; infinite where one is left out by -inf.
        class_weights: shape ``(classes,)``, as ``weight`` of ``torch.nn.CrossEntropyLoss``: the sum of the weighted
            losses is divided by the weights of the labels of the whole step.

    Raises:
        ValueError: ``label_smoothing`` is no share; labels are no classes (on a GPU the device stops instead where one
            is out of range), or not one for each row of logits; weights are not finite numbers from 0 on, one for each
            class; logits are surely probabilities.

    Note:
        With ``class_weights`` the plain Trainer, which counts labels, is refused. ``LogitAdjustedLoss`` takes the
        frequencies of classes for balanced accuracy, and needs no weights.

    Example:
        >>> CrossEntropyLoss()(torch.zeros(1, 2, 4), torch.tensor([[3, -100]])).item()
        1.386...
        >>> CrossEntropyLoss(class_weights=[1.0, 3.0])(torch.tensor([[0.0, 1.0]] * 2), torch.tensor([0, 1])).item()
        0.563...
    """

    class_weights: Tensor | None

    def __init__(
        self,
        shift: bool = False,
        label_smoothing: float = 0.0,
        *,
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__()
        self.shift = shift
        self.label_smoothing = checked_number("label_smoothing", label_smoothing, least=0, most=1)
        weights = None if class_weights is None else checked_weights("class_weights", class_weights)
        self.register_buffer("class_weights", weights)

    def extra_repr(self) -> str:
        """What differs from a cross-entropy of classes."""
        return "shift=True" if self.shift else ""

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
        """Cross-entropy in nats, times the weight of the class, shape ``(items,)``."""
        return cross_entropies(logits, labels, label_smoothing=self.label_smoothing, class_weights=self.class_weights)

    def item_weights(self, labels: Tensor) -> Tensor:
        """See ``Loss.item_weights``."""
        if self.class_weights is None:
            return super().item_weights(labels)
        return weights_of(labels, torch.ones_like(labels, dtype=torch.bool), self.class_weights)

    def items(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """How many items count, or the sum of the weights of their classes."""
        if self.class_weights is None:
            return super().items(labels, mask)
        labels, chosen = self._chosen(labels, mask)
        return weights_of(labels, chosen, self.class_weights).sum()

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See ``Loss.average``."""
        if items is None and self.class_weights is not None:
            items = self.items(labels, mask)
        return super().average(outputs, labels, items, mask)

    def labels_per_item(self, labels: Tensor) -> int:
        """1; with weights of classes not known, and a ``ValueError``."""
        if self.class_weights is not None:
            raise ValueError(
                "CrossEntropyLoss(class_weights=...) divides by the weights of the step's labels, and "
                "num_items_in_batch counts labels: give the loss to TechniqueTrainer(loss=...), which adds weights, "
                "or call average(outputs, labels, items=weights)"
            )
        return 1


class BinaryCrossEntropyLoss(Loss):
    """Sigmoid cross-entropy of each cell of a label matrix, averaged over the cells.

    Source: ``torch.nn.BCEWithLogitsLoss``, whose mean over a micro-batch becomes one over the whole step.

    Labels are shares from 0 to 1. A logit of -inf leaves a class out that does not apply.

    Args:
        pos_weight: of what is 1 in a label, one number or shape ``(classes,)``, as in ``torch.nn.BCEWithLogitsLoss``;
            the sum is divided by the number of cells, whatever their weights.

    Raises:
        ValueError: labels are beyond 0 and 1, or not one for each logit; weights are not finite numbers from 0 on, one
            for each class.

    Note:
        Probabilities in place of logits pass unseen: all logits between 0 and 1 may be chance.

    Example:
        >>> BinaryCrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -100.0]])).item()
        0.693...
    """

    pos_weight: Tensor | None

    def __init__(self, *, pos_weight: float | Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        weights = None if pos_weight is None else checked_weights("pos_weight", torch.as_tensor(pos_weight).view(-1))
        self.register_buffer("pos_weight", weights)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without the last dimension, where it is the only logit of a binary label."""
        return one_per_label(logits, labels)

    @property
    def divergence(self) -> Divergence:
        """Of the answer of each cell."""
        return bernoulli()

    def items_in(self, logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Loss.items_in``; with ``pos_weight`` labels have the weight of their class beside them."""
        found, own = super().items_in(logits, labels, mask)
        if self.pos_weight is None:
            return found, own
        labels, chosen = self._chosen(labels, mask)
        weights = self.pos_weight
        if len(weights) not in (1, labels.shape[-1]):
            raise ValueError(
                f"pos_weight has {len(weights)} weights, but labels are of shape {tuple(labels.shape)}: give one "
                "number, or one for each class in their last dimension"
            )
        of_cells = those_chosen(weights.to(found.dtype).expand_as(labels), chosen)
        return found, torch.stack([own.to(found.dtype), of_cells], dim=-1)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, shape ``(cells,)``."""
        labels, weights = (labels, None) if self.pos_weight is None else labels.unbind(dim=-1)
        return binary_cross_entropies(logits, checked_shares(logits, labels), weights)


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
