"""The loss of BERT's pre-training: masked tokens, and whether the second text follows the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from nlpkit.losses.standard import CrossEntropyLoss


class PreTrainingLoss(CrossEntropyLoss):
    """Cross-entropy of masked tokens, and of the next sentence, each averaged over its own items.

    Source: BERT, arXiv 1810.04805, section 3.1.

    Either column of labels may be missing. The terms are called ``loss`` (of tokens) and ``next_sentence``.

    Args:
        label_smoothing: share of the target that is spread over all classes.

    Example:
        >>> import torch
        >>> outputs = {"prediction_logits": torch.zeros(2, 3, 4), "seq_relationship_logits": torch.zeros(2, 2)}
        >>> batch = {"labels": torch.zeros(2, 3).long(), "next_sentence_label": torch.tensor([0, 1])}
        >>> {name: round(term.item(), 3) for name, term in PreTrainingLoss().terms(outputs, batch, {}).items()}
        {'loss': 1.386, 'next_sentence': 0.693}
    """

    columns: ClassVar[tuple[str, ...]] = ("labels", "next_sentence_label")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing)

    def logits_of(self, outputs: Any) -> Tensor:
        """Scores of tokens, shape ``(batch, length, vocabulary)``."""
        return outputs if isinstance(outputs, Tensor) else outputs["prediction_logits"]

    def items_of(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Labelled tokens and pairs, as far as there are labels."""
        names = zip(("loss", "next_sentence"), self.columns, strict=True)
        return {name: self.items(batch[column].flatten()) for name, column in names if batch.get(column) is not None}

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As far as there are labels."""
        terms = {}
        if batch.get("labels") is not None:
            terms["loss"] = self.average(outputs, batch["labels"], items.get("loss"))
        if batch.get("next_sentence_label") is not None:
            labels = batch["next_sentence_label"].flatten()
            terms["next_sentence"] = self.average(
                outputs["seq_relationship_logits"], labels, items.get("next_sentence")
            )
        return terms or {"loss": self.logits_of(outputs).sum() * 0.0}
