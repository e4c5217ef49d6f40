"""SimSiam and BYOL: agreement of two views of a text, without any negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import unit_rows
from nlpkit.losses.embeddings.embedding_loss import LONELY, PooledLoss, Pooling, partners, pool


def predictor(dim: int, hidden: int | None = None) -> nn.Sequential:
    """The small network that foretells one view's embedding from the other's.

    It normalises each text by itself (LayerNorm), where SimSiam and BYOL normalise over the batch: rows stay
    independent of each other, in batches of one too.

    Args:
        dim: of the embeddings.
        hidden: of the layer between; a quarter of ``dim`` by default, as in SimSiam.

    Returns:
        A module from ``(texts, dim)`` to ``(texts, dim)``.

    Example:
        >>> predictor(8)(torch.zeros(2, 8)).shape
        torch.Size([2, 8])
    """
    checked_number("dim", dim, least=1, whole=True)
    hidden = max(1, dim // 4) if hidden is None else checked_number("hidden", hidden, least=1, whole=True)
    return nn.Sequential(nn.Linear(dim, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, dim))


class NonContrastiveLoss(PooledLoss):
    """One minus the cosine between the prediction from a text and the other views of it, which take no gradient.

    Source: SimSiam, arXiv 2011.10566, equations 1 and 2 (whose loss is this one less 1); with a slow copy of the
    encoder as ``target``, BYOL, arXiv 2006.07733, equation 2 (half of it). kexue.fm/archives/7980 explains why it does
    not collapse: the predictor is fast, the encoder slow, and the target's gradient is stopped.

    Labels are numbers of texts (see ``PooledLoss``); both views of a text must be in one micro-batch, as the technique
    ``SimCSE`` puts them. A text without another view counts for nothing. Rows do not depend on each other, so
    accumulation and processes change nothing, and batches may be small.

    Args:
        predict: such as ``predictor(dim)``; its parameters are trained with the model's.
        target: a copy of the model whose weights follow slowly; ``None`` takes the model itself.
        pooling: see ``PooledLoss``.

    Note:
        Watch ``nlpkit.probes.collapse_report``: without the predictor or the stopped gradient all texts end in one
        point.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> NonContrastiveLoss(torch.nn.Identity())(embeddings, torch.tensor([0, 0, 1])).item()
        0.0
    """

    def __init__(self, predict: nn.Module, target: nn.Module | None = None, pooling: Pooling = "mean") -> None:
        super().__init__(pooling)
        self.predict = predict
        self._target = (target,)  # not a submodule: it is not trained by gradient

    def items(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """Texts that have another view."""
        labels = labels[self._chosen(labels, mask)[1]]
        return _views(labels).any(dim=1).sum()

    def labels_per_item(self, labels: Tensor) -> int:
        """As ``PooledLoss``; a ``ValueError`` where a text has no other view, since it is counted as a label."""
        if self.items(labels) < self.valid(labels).sum():
            raise ValueError(
                "NonContrastiveLoss averages over texts that have another view, and num_items_in_batch counts all "
                "that have a label: give the loss to TechniqueTrainer(loss=...), or each text two views in its batch"
            )
        return super().labels_per_item(labels)

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ``Loss.terms``, with the target's embeddings where there is one."""
        (target,) = self._target
        if target is None or not self._has_labels(batch):
            return super().terms(outputs, batch, items)
        with torch.no_grad():
            slow = pool(target(**self.inputs_of(batch)), batch.get("attention_mask"), self.pooling)
        total = self._of_pairs(self.logits_in(outputs, batch), slow, self.labels_of(batch))
        count = items.get("loss", self.items(self.labels_of(batch)))
        return {"loss": total / count.clamp(min=1)}

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See ``Loss.average``."""
        logits, labels = self.items_in(self.logits_of(outputs), labels, mask)
        count = torch.as_tensor(self.items(labels) if items is None else items, device=logits.device)
        return self._of_pairs(logits, logits.detach(), labels) / count.clamp(min=1)

    def _of_pairs(self, embeddings: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Summed over texts, averaged over the views of each."""
        valid = self.valid(labels)
        same = _views(labels) & valid[:, None]
        if valid.any():
            self.warn_without_pairs(same.sum(), *LONELY)
        dtype = next(self.predict.parameters(), embeddings).dtype
        predicted = unit_rows(self.predict(embeddings.to(dtype)))
        gaps = 1 - predicted @ unit_rows(targets.to(dtype)).T  # (texts, texts)
        return (torch.where(same, gaps, 0.0).sum(dim=1) / same.sum(dim=1).clamp(min=1)).sum()


def _views(labels: Tensor) -> Tensor:
    """Which rows are other views of a row's text, shape ``(rows, rows)``."""
    rows = torch.arange(len(labels), device=labels.device)
    return partners(labels, rows, rows)[0]
