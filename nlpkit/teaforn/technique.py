"""TeaForN as a technique of the one Trainer: the task's loss at every level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nlpkit.checked_number import checked_number
from nlpkit.losses import Loss
from nlpkit.teaforn.decoder import Decoder, Seen
from nlpkit.teaforn.feeds import Feed, RmsMatched
from nlpkit.teaforn.levels import Level, next_embeddings, repeated
from nlpkit.training import Batch, Host, Items, Technique, Terms


class TeaForN(Technique):
    """Let a decoder read its own states in place of right tokens, and predict the same tokens from them.

    Source: TeaForN, arXiv 2010.03494, and kexue.fm/archives/7818. The Trainer's own pass is level 1; level ``s`` reads
    at a position what level ``s - 1`` gave one position earlier, and its loss is the task's, of the same labels, times
    ``weight * decay ** (s - 2)``. All levels share all weights, so that nothing is added to the model, which is
    evaluated and generates as ever.

    Args:
        levels: how many there are, the first one included; 1 is teacher forcing.
        weight: of level 2, where level 1 has 1; 0 is teacher forcing. ``ScheduledStrength(technique, "weight", ...)``
            lets it grow.
        decay: of the weight from a level to the next one.
        feed: what is read for a state. ``None`` means ``RmsMatched()``, the state as large as embeddings are.
        drop_repeats: count once what a level repeats of the one before, see ``teaforn_loss``. The paper counts so, the
            post does not.
        recompute: levels from the second on forget their activations, and run once more in the backward pass.

    Raises:
        TypeError: what should be a number or a feed is none.
        ValueError: a number is out of range; the model does not predict the next token, or takes no embeddings; see
            ``Decoder``.

    Note:
        The encoder runs once. Per level one pass more of the decoder and the head: of a decoder alone, one pass of the
        whole model. ``recompute`` adds a forward pass per level. ``ChunkedCrossEntropyLoss`` as the task's loss makes
        logits a few at a time, at each level too. Adversaries move what level 1 reads; the embeddings that further
        levels keep stay as they are. Not for a task in which the next token follows from the prompt alone.

    Example:
        >>> TeaForN(levels=3).name
        'tea_for_n'
    """

    def __init__(
        self,
        levels: int = 2,
        *,
        weight: float = 1.0,
        decay: float = 1.0,
        feed: Feed | None = None,
        drop_repeats: bool = True,
        recompute: bool = False,
    ) -> None:
        checked_number("levels", levels, least=1, whole=True, hint="1 is teacher forcing")
        checked_number("weight", weight, least=0)
        checked_number("decay", decay, least=0)
        if not isinstance(feed, Feed | None):
            raise TypeError(f"feed={feed!r} is no feed; give one of nlpkit.teaforn, such as RmsMatched()")
        self.weight, self.levels, self.decay = weight, levels, decay
        self.feed = RmsMatched() if feed is None else feed
        self.drop_repeats, self.recompute = drop_repeats, recompute

    @property
    def active(self) -> bool:
        """Whether there is a level behind the first one that counts."""
        return self.weight != 0 and self.levels > 1

    def prepare(self, trainer: Host) -> None:
        """Finds the parts of the model."""
        if getattr(trainer.args, "ddp_static_graph", None):
            raise ValueError("TeaForN runs the decoder more than once: leave ddp_static_graph=True out")
        self._trainer, self._decoder = trainer, Decoder(trainer.model)

    @contextmanager
    def training(self) -> Iterator[None]:
        """What level 1 gives is kept."""
        with self._decoder.watched() as self._seen:
            yield
        self._seen = Seen()

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """Adds a term for each level from the second on, divided by the items of the task."""
        if batch.get("labels") is None:
            return terms
        loss, decoder = self._trainer.task_loss, self._decoder
        reading = decoder.reading(batch, loss)
        encoded = self._seen.encoded  # level 2 is watched, too
        level = Level(decoder.states(self._seen), loss.logits_of(outputs) if self.feed.needs_logits else None)
        embeddings = decoder.vocabulary.embed(reading.ids)
        added: Terms = {}
        for number in range(2, self.levels + 1):
            read = next_embeddings(
                level, embeddings, self.feed, replaced=reading.replaced, vocabulary=decoder.vocabulary
            )
            told = batch | {"labels": self._labels(batch, reading.replaced, number)}
            one = (loss, reading.inputs, encoded, told, items, read)
            level, term = checkpoint(self._level, *one, use_reentrant=False) if self.recompute else self._level(*one)
            added[f"{self.name}/level_{number}"] = self.weight * self.decay ** (number - 2) * term
        return terms | added

    def _labels(self, batch: Batch, replaced: Tensor, number: int) -> Tensor:
        """Those that a level is told."""
        labels: Tensor = batch["labels"]
        if not self.drop_repeats:
            return labels
        return labels.masked_fill(self._decoder.unaligned(repeated(replaced, number)), -100)

    def _level(
        self,
        loss: Loss,
        inputs: Mapping[str, Any],
        encoded: Any,
        batch: Batch,
        items: Items,
        embeddings: Tensor,
    ) -> tuple[Level, Tensor]:
        """A level, and its loss."""
        with loss.model_pass():
            hidden, outputs = self._decoder.run(inputs, encoded, embeddings)
        logits = loss.logits_of(outputs) if self.feed.needs_logits else None
        return Level(hidden, logits), torch.stack(list(loss.terms(outputs, batch, items).values())).sum()
