"""Our losses over embeddings as losses of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils.checkpoint import checkpoint

from nlpkit.checked_number import checked_number
from nlpkit.losses.embeddings.embedding_loss import EmbeddingLoss
from nlpkit.losses.gathering import process_count


class SentenceTransformersLoss(nn.Module):
    """A loss of nlpkit as ``SentenceTransformerTrainer(loss=...)`` takes it.

    Columns of a data set are views: the first is the anchor, the second its positive, any others are negatives of
    their own. One column beside labels is for ``SupervisedContrastiveLoss``: texts of a class belong together.

    Args:
        model: the ``SentenceTransformer`` to train.
        loss: such as ``InfoNCELoss(symmetric=False)``, which is ``MultipleNegativesRankingLoss`` where the temperature
            is the inverse of its scale, or ``FlatNCELoss()``.
        mini_batch_size: texts that run at a time. ``None`` runs a batch at once; a number holds the activations of so
            many texts only, and runs every text twice, with the same dropout: gradient caching.

    Raises:
        TypeError: the loss does not couple the texts of a batch.
        ValueError: one column without labels or with scores; labels beside several columns, which nothing asks for;
            ``mini_batch_size`` where features are no rows of texts.

    Note:
        An answer that stands twice in a batch is a negative of the other question, as it is for
        ``MultipleNegativesRankingLoss``: train with ``batch_sampler=BatchSamplers.NO_DUPLICATES``. A loss with
        ``symmetric=True``, the default, takes answers as anchors, too. Prompts change nothing here. Under
        ``gradient_accumulation_steps`` a text is compared within its micro-batch alone: take a larger batch, and
        ``mini_batch_size``.

    Example:
        >>> SentenceTransformersLoss(model, InfoNCELoss(symmetric=False), mini_batch_size=32)  # doctest: +SKIP
    """

    def __init__(self, model: Any, loss: EmbeddingLoss, mini_batch_size: int | None = None) -> None:
        super().__init__()
        if not isinstance(loss, EmbeddingLoss):
            raise TypeError(
                f"loss={type(loss).__name__}(...) does not couple the texts of a batch: give an EmbeddingLoss, such "
                "as InfoNCELoss(); others are for nlpkit.TechniqueTrainer"
            )
        if mini_batch_size is not None:
            checked_number("mini_batch_size", mini_batch_size, least=1, whole=True, hint="None runs a batch at once")
        self.model, self.loss, self.mini_batch_size = model, loss, mini_batch_size

    def forward(self, sentence_features: Iterable[Mapping[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: one for each column, as the model takes it.
            labels: classes, where there is one column, shape ``(batch,)``.

        Returns:
            Shape ``()``.
        """
        embeddings = [self._embed(dict(features)) for features in sentence_features]
        if len(embeddings) > 1:
            if labels is not None:
                raise ValueError(
                    f"{len(embeddings)} columns of texts are anchors, positives and negatives whatever their labels: "
                    "drop the column of labels, and pairs that are no positives; or label one column by classes"
                )
            labels = _views([len(column) for column in embeddings], embeddings[0].device)
        elif labels is None:
            raise ValueError("one column of texts needs labels; give pairs of texts, or a column 'label'")
        # The Trainer averages over processes, and each has its part of a sum here.
        return self.loss(torch.cat(embeddings), labels) * process_count()

    def _embed(self, features: dict[str, Tensor]) -> Tensor:
        if self.mini_batch_size is None or (rows := _rows(features)) <= self.mini_batch_size:
            return self.model(features)["sentence_embedding"]
        parts = []
        for start in range(0, rows, self.mini_batch_size):
            part = {
                name: value[start : start + self.mini_batch_size] if _has_rows(value) else value
                for name, value in features.items()
            }
            parts.append(checkpoint(self._embed, part, use_reentrant=False))
        return torch.cat(parts)

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of it."""
        return {"loss": type(self.loss).__name__, "mini_batch_size": self.mini_batch_size}


def _has_rows(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _rows(features: dict[str, Tensor]) -> int:
    """How many texts there are, if each has a row of its own."""
    rows = {len(value) for value in features.values() if _has_rows(value)}
    if len(rows) != 1 or features.keys() & {"offsets", "cu_seq_lens_q"}:  # tokens of all texts in one row
        raise ValueError(
            f"mini_batch_size cuts features of one row for each text, and {', '.join(features)} are not: leave it "
            "out, or have the model pad its inputs"
        )
    return rows.pop()


def _views(counts: list[int], device: torch.device) -> Tensor:
    """Groups and views, shape ``(texts, 2)``: columns 0 and 1 pair up row by row, further ones have no partner."""
    rows = counts[0]
    groups = [torch.arange(rows), *(torch.arange(rows) + rows * max(0, view - 1) for view in range(1, len(counts)))]
    views = [torch.full((rows,), min(view, 1)) for view in range(len(counts))]
    offset = dist.get_rank() << 40 if process_count() > 1 else 0  # groups of processes are different ones
    return torch.stack([torch.cat(groups) + offset, torch.cat(views)], dim=1).to(device)
