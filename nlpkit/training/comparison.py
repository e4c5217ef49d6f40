"""Which predictions of a batch a technique compares, and how."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from nlpkit.losses.divergences import Divergence, softmax
from nlpkit.losses.embeddings.embedding_loss import PooledLoss
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.stock_losses import with_head
from nlpkit.training.technique import Batch, Host


class Comparison:
    """Two predictions of the same items, by the task's loss of a Trainer, which knows where logits and labels are.

    Args:
        trainer: whose task.
        on: ``"labelled"`` compares items with a label. ``"all"`` compares those without one, too: all rows, or where
            each token has a label, as in tagging and in masked or causal language models, all tokens that the
            attention mask lets in (of an encoder-decoder, those of ``decoder_attention_mask``, without which it is the
            labelled ones).
        divergence: ``None`` takes ``Loss.divergence``, or ``softmax`` where that is not known and an item has one
            label and a score per class. Embeddings have none but the one that is given.
        technique: who compares, for messages.

    Raises:
        ValueError: ``on`` is neither of the two.
    """

    def __init__(
        self, trainer: Host, on: Literal["labelled", "all"], divergence: Divergence | None, technique: str
    ) -> None:
        if on not in ("labelled", "all"):
            raise ValueError(f'{technique}: on={on!r} is neither "labelled" nor "all"')
        self._trainer, self._on, self._divergence, self._technique = trainer, on, divergence, technique

    def items(self, batch: Batch) -> Tensor:
        """Which items are compared.

        Args:
            batch: with labels, -100 where there are none.

        Returns:
            ``True`` for those, of the shape of the items of the loss.

        Raises:
            ValueError: the loss names no labels, or the batch has none.
        """
        loss = self._trainer.task_loss
        if not loss.columns:
            raise ValueError(
                f"{self._technique} compares logits by their labels, and {type(loss).__name__} names no labels"
            )
        if any(batch.get(column) is None for column in loss.columns):
            raise ValueError(
                f"{self._technique}: the batch has no {' or '.join(loss.columns)}: give each row labels, -100 where "
                "it has none"
            )
        labels = loss.align_labels(loss.labels_of(batch))
        valid = loss.valid(labels)
        cells = labels.is_floating_point() and labels.dim() == valid.dim()
        if self._on == "labelled":
            return valid
        if valid.dim() == 1 or cells:
            return torch.ones_like(valid)
        decodes = getattr(getattr(with_head(self._trainer.model), "config", None), "is_encoder_decoder", False)
        mask = batch.get("decoder_attention_mask" if decodes else "attention_mask")
        if mask is None:
            return valid if decodes else torch.ones_like(valid)
        mask = loss.align_labels(mask).bool()
        return mask if mask.shape == valid.shape else torch.ones_like(valid)

    def predictions(self, outputs: Any, batch: Batch) -> Tensor:
        """The scores of the items that are compared.

        Args:
            outputs: of the model.
            batch: as it was given to the model, and the labels.

        Returns:
            In fp32 or better, shape ``(items, ...)``.

        Raises:
            ValueError: the head gives scores for labelled items only, and others are asked for.
        """
        loss, items = self._trainer.task_loss, self.items(batch)
        logits = loss.align_logits(loss.logits_in(outputs, batch), loss.align_labels(loss.labels_of(batch)))
        if logits.shape[: items.dim()] == items.shape:
            return at_least_fp32(logits[items])
        if logits.dim() == 2 and len(logits) == items.sum():  # heads with sparse_prediction choose themselves
            return at_least_fp32(logits)
        raise ValueError(
            f"{self._technique}: there are {int(items.sum())} items to compare, and logits of shape "
            f"{tuple(logits.shape)}; a head with sparse_prediction has those of labelled items only: give "
            'on="labelled"'
        )

    def divergence(self, batch: Batch, predictions: Tensor) -> Divergence:
        """How they are compared.

        Args:
            batch: with labels.
            predictions: of its items.

        Returns:
            The divergence.

        Raises:
            ValueError: none was given, and the loss does not tell, or is over embeddings.
        """
        if self._divergence is not None:
            return self._divergence
        loss = self._trainer.task_loss
        if loss.divergence is not None:
            return loss.divergence
        if isinstance(loss, PooledLoss):
            raise ValueError(
                f"{self._technique} compares predictions, and {type(loss).__name__} is over embeddings, which are "
                "none: leave it out, or give divergence= a nlpkit.losses.Divergence of embeddings, such as gaussian, "
                "by their squared distance"
            )
        labels = loss.align_labels(loss.labels_of(batch))
        if labels.dim() == loss.valid(labels).dim() and predictions.dim() > 1:
            return softmax
        raise ValueError(
            f"{self._technique}: what distribution {type(loss).__name__} is a loss of cannot be told: give "
            "divergence=softmax, bernoulli() or gaussian, of nlpkit.losses"
        )
