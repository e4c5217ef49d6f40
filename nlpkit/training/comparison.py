"""Which predictions of a batch a technique compares, and how."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from nlpkit.losses.divergences import Divergence, softmax
from nlpkit.losses.embeddings.embedding_loss import PooledLoss
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.task_loss.stock_losses import with_head
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
        of_rows = valid.dim() == 1 or (valid.dim() == 2 and labels.is_floating_point() and labels.dim() == 2)
        if self._on == "labelled":
            return valid
        if of_rows:
            return torch.ones_like(valid)
        tokens = self._tokens(batch)
        if tokens is None:
            return valid if self._decodes() else torch.ones_like(valid)
        if tokens.shape != valid.shape[: tokens.dim()]:
            return torch.ones_like(valid)
        return tokens.view(*tokens.shape, *[1] * (valid.dim() - tokens.dim())).expand_as(valid)

    def _decodes(self) -> bool:
        return getattr(getattr(with_head(self._trainer.model), "config", None), "is_encoder_decoder", False)

    def _tokens(self, batch: Batch) -> Tensor | None:
        """Which tokens are no padding, in the order of the labels, if the batch tells."""
        mask = batch.get("decoder_attention_mask" if self._decodes() else "attention_mask")
        return None if mask is None else self._trainer.task_loss.align_labels(mask).bool()

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
        labels = loss.align_labels(loss.labels_of(batch))
        logits = loss.align_logits(loss.logits_in(outputs, batch), labels)
        if logits.shape[: items.dim()] == items.shape:
            if items.dim() < labels.dim() < logits.dim() and labels.shape == logits.shape[: labels.dim()]:
                logits = self._without_padding(logits, labels, batch)
            return at_least_fp32(logits[items])
        if logits.dim() == 2 and len(logits) == items.sum():  # heads with sparse_prediction choose themselves
            return at_least_fp32(logits)
        raise ValueError(
            f"{self._technique}: there are {int(items.sum())} items to compare, and logits of shape "
            f"{tuple(logits.shape)}; a head with sparse_prediction has those of labelled items only: give "
            'on="labelled"'
        )

    def _without_padding(self, logits: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Of items that are rows of tokens: tokens that are not compared have the same scores in all predictions."""
        tokens = labels != -100 if self._on == "labelled" else self._tokens(batch)
        if tokens is None or tokens.shape != labels.shape:
            return logits
        return torch.where(tokens.view(*tokens.shape, *[1] * (logits.dim() - tokens.dim())), logits, 0.0)

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
