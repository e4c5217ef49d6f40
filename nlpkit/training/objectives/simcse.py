"""SimCSE: a text and itself under another dropout are a pair."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nlpkit.losses.embeddings.embedding_loss import PooledLoss
from nlpkit.training.dropout import PassesDiffer
from nlpkit.training.technique import Batch, Host, Items, Technique, Terms

logger = logging.getLogger(__name__)


class SimCSE(Technique):
    """Run every text twice, with different dropout, and let a contrastive loss tell the pairs from all other texts.

    Source: SimCSE, arXiv 2104.08821, section 3 (unsupervised), and kexue.fm/archives/8348.

    Beside a loss over embeddings, such as ``InfoNCELoss`` or ``FlatNCELoss``. Batches need no labels; any that they
    have are replaced by the number of the text and of the pass.

    Raises:
        ValueError: the loss is not one over embeddings; or, in training, both passes agree to the bit, since the model
            has no dropout.

    Note:
        Twice the rows. The collapse of embeddings shows in ``collapse_report``. In evaluation it does not act, as no
        technique does: a loss there is over the labels of the set, if it has any, and a warning says so. Score
        embeddings, as docs/similarity.md does.

    Example:
        >>> SimCSE().batch({"input_ids": torch.tensor([[4], [5]])})["labels"].tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """

    _rank = 0
    _has_told = False  # of labels in evaluation
    _texts = 0

    def prepare(self, trainer: Host) -> None:
        """Needs a loss over embeddings."""
        self._trainer = trainer
        self._rank = trainer.args.process_index
        self._passes = PassesDiffer("SimCSE", "set its probabilities of dropout, e.g. hidden_dropout_prob=0.1")
        if not isinstance(loss := trainer.given_loss, PooledLoss):
            raise ValueError(
                f"SimCSE makes pairs for a loss over embeddings, and {loss or 'that of the head'} is none: give "
                "loss=InfoNCELoss() or FlatNCELoss()"
            )

    def batch(self, batch: Batch) -> Batch:
        """Every row twice, with labels that tell texts apart over micro-batches and processes."""
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor) and name != "labels"}
        rows = len(next(iter(tensors.values())))
        texts = torch.arange(rows) + self._texts + (self._rank << 40)
        self._texts += rows
        views = torch.arange(2).repeat_interleave(rows)
        doubled = {name: torch.cat([value, value]) for name, value in tensors.items()}
        return doubled | {"labels": torch.stack([texts.repeat(2), views], dim=1)}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Tells of labels, which training has replaced."""
        if not self._has_told and _has_labels(getattr(self._trainer, "eval_dataset", None)):
            self._has_told = True
            logger.warning(
                "SimCSE trains on pairs of its own, and the evaluation set has labels: its loss there is another one, "
                "which should not choose a checkpoint; leave the labels out"
            )
        yield

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Looks whether the passes differ."""
        loss = self._trainer.task_loss
        first, second = loss.logits_in(outputs, batch).detach().chunk(2)
        self._passes.look(first, second)
        return terms


def _has_labels(dataset: Any) -> bool:
    if isinstance(dataset, dict):
        return any(map(_has_labels, dataset.values()))
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__") or not len(dataset):
        return False
    return isinstance(dataset[0], dict) and not {"labels", "label"}.isdisjoint(dataset[0])
