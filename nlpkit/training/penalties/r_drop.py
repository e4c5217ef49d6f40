"""R-Drop: two passes with different dropout must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.losses.divergences import Divergence
from nlpkit.training.comparison import Comparison
from nlpkit.training.dropout import PassesDiffer, set_dropout
from nlpkit.training.technique import Batch, Host, Items, Technique, Terms


class RDrop(Technique):
    """Run every row twice, with different dropout, and add the symmetric divergence of the two predictions.

    Source: R-Drop, arXiv 2106.14448, equation 4, and kexue.fm/archives/8496, whose code this equals: the loss is the
    mean cross-entropy of both passes plus ``weight / 4 * (KL(p || q) + KL(q || p))``, averaged over items. The paper's
    alpha, beside the *sum* of the two cross-entropies, is the same number.

    Args:
        weight: the paper's alpha; 4 in the post.
        divergence: of two predictions; ``None`` takes that of the loss, ``Loss.divergence``.
        on: ``"labelled"`` compares items with a label; ``"all"`` compares the others, too, so that rows without labels
            (-100) are learnt from, as in the post's semi-supervised use.
        dropout: probability that all dropout of the model is set to, beforehand; ``None`` leaves it. 0.3 in the post.

    Raises:
        ValueError: in training, where both passes agree to the bit, since the model has no dropout; where the loss is
            none over logits and labels, as PET's objectives; or where it is over embeddings, and no divergence is
            given.

    Note:
        A step takes about twice as long, and holds twice the rows' activations. ``on="all"`` in a masked language
        model compares all tokens, of which few are masked; ``"labelled"`` is cheaper and to the point.

    Example:
        >>> RDrop(weight=4.0).name
        'r_drop'
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        divergence: Divergence | None = None,
        on: Literal["labelled", "all"] = "labelled",
        dropout: float | None = None,
    ) -> None:
        self.weight, self.divergence, self.on, self.dropout = weight, divergence, on, dropout
        self._give_back: Callable[[], None] | None = None

    def prepare(self, trainer: Host) -> None:
        """Needs a model with dropout, if it is to be set."""
        self._comparison = Comparison(trainer, self.on, self.divergence, "R-Drop")
        self._passes = PassesDiffer(
            "R-Drop", "give dropout=0.1 (many decoders and ModernBERT have none), or set it in the configuration"
        )
        self._own_again()
        if self.dropout is not None:
            set_dropout(trainer.model, self.dropout)()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the dropout, if it is to be set; without a weight the model has its own."""
        if not self.active:
            self._own_again()
        elif self.dropout is not None and self._give_back is None:
            self._give_back = set_dropout(kwargs["model"], self.dropout)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Gives the model its own dropout back."""
        self._own_again()

    def _own_again(self) -> None:
        if self._give_back is not None:
            self._give_back()
        self._give_back = None

    def batch(self, batch: Batch) -> Batch:
        """Every row twice: all rows, then all again."""
        return {name: _twice(value) for name, value in batch.items()}

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Pairs of predictions."""
        return {self.name: self._comparison.items(batch).sum() // 2}

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds the divergence, averaged over pairs of predictions."""
        predictions = self._comparison.predictions(outputs, batch)
        divergence = self._comparison.divergence(batch, predictions)
        first, second = predictions.unflatten(0, (2, -1))  # (pairs, ...) each
        self._passes.look(first, second)
        return terms | {self.name: self.weight / 4 * divergence.symmetric(first, second).sum() / items[self.name]}


def _twice(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.cat([value, value]) if value.dim() else value
    return [*value, *value] if isinstance(value, list) else value
