"""Random replacement: a decoder reads wrong tokens now and then."""

from __future__ import annotations

from typing import Any

import torch

from nlpkit.checked_number import checked_number
from nlpkit.teaforn.decoder import Decoder
from nlpkit.training import Batch, Host, Technique


class RandomReplacement(Technique):
    """Replace some of the right tokens that a decoder reads by others, drawn at random.

    Source: kexue.fm/archives/7259, as the cheapest remedy against exposure bias: a decoder that has read wrong tokens
    in training is less confused by its own.

    Args:
        probability: of a token to be replaced; 0 is teacher forcing.
        own: draw among the labels of the row; else among ``tokens``.
        tokens: from the first id on, up to and without the second one; ``None`` means the whole vocabulary.

    Raises:
        ValueError: the probability is not between 0 and 1, or ``tokens`` is no range of the vocabulary; the model does
            not predict the next token; see ``Decoder``.

    Note:
        Costs nothing. Labels stay right, so that the model learns to go on after a mistake.

    Example:
        >>> RandomReplacement(0.15).name
        'random_replacement'
    """

    def __init__(self, probability: float = 0.15, *, own: bool = False, tokens: tuple[int, int] | None = None) -> None:
        checked_number("probability", probability, least=0, most=1)
        self.probability, self.own, self.tokens = probability, own, tokens

    @property
    def active(self) -> bool:
        """Whether any token may be replaced."""
        return self.probability != 0

    def prepare(self, trainer: Host) -> None:
        """Finds the parts of the model."""
        self._trainer, self._decoder = trainer, Decoder(trainer.model)
        first, end = self._range()
        if not 0 <= first < end <= self._decoder.vocabulary.size:
            raise ValueError(
                f"tokens={self.tokens}: give ids from 0 to {self._decoder.vocabulary.size}, the lower one first"
            )

    def batch(self, batch: Batch) -> Batch:
        """The batch with other tokens for the decoder."""
        labels: Any = batch.get("labels")
        if labels is None:
            return batch
        reading = self._decoder.reading(batch, self._trainer.task_loss)
        ids = reading.ids
        drawn = torch.randint(*self._range(), ids.shape, device=ids.device, dtype=ids.dtype)
        if self.own:
            shares = (labels != -100).float()
            shares += (shares.sum(1, keepdim=True) == 0).float()  # rows without labels have nothing to replace
            places = shares.multinomial(ids.shape[1], replacement=True)
            drawn = labels.gather(1, places)
        chosen = torch.rand(ids.shape, device=ids.device) < self.probability
        return batch | {reading.name: reading.instead(torch.where(chosen, drawn, ids))[reading.name]}

    def _range(self) -> tuple[int, int]:
        return (0, self._decoder.vocabulary.size) if self.tokens is None else self.tokens
