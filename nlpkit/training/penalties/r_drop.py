"""R-Drop: two passes with different dropout must agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.divergences import Divergence
from nlpkit.training.comparison import Comparison
from nlpkit.training.dropout import PassesDiffer, dropout_places, set_dropout
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
        dropout: probability that all dropout of the model has in the passes of training; ``None`` leaves it. 0.3 in
            the post.

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
        self.weight = checked_number("RDrop: weight", weight, least=0)
        self.divergence, self.on, self.dropout = divergence, on, dropout

    def prepare(self, trainer: Host) -> None:
        """Needs a model with dropout, if it is to be set."""
        self._comparison = Comparison(trainer, self.on, self.divergence, "R-Drop")
        self._passes = PassesDiffer(
            "R-Drop", "give dropout=0.1 (many decoders and ModernBERT have none), or set it in the configuration"
        )
        self._model, self._places = trainer.model, dropout_places(trainer.model)
        with self.training():
            pass  # now, not at the first step, it is told that nothing can be set

    @contextmanager
    def training(self) -> Iterator[None]:
        """The dropout, if it is to be set; its own is what the model is saved with, and goes on with afterwards."""
        if self.dropout is None:
            yield
            return
        give_back = set_dropout(self._model, self.dropout, self._places)
        try:
            yield
        finally:
            give_back()

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
