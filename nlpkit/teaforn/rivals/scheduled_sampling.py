"""Scheduled sampling in two passes: a decoder reads what it would have written itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.teaforn.decoder import Decoder
from nlpkit.training import Batch, Host, Items, Run, Technique


class ScheduledSampling(Technique):
    """Replace some of the right tokens that a decoder reads by its own, which a first pass has found.

    Source: scheduled sampling, arXiv 1506.03099, in the parallel form for Transformers, arXiv 1906.04331: a first pass
    on right tokens, without gradient, says what the model would write at each position; the second one reads that
    at some of them, and is trained on the same labels.

    Args:
        probability: of a token to be replaced; 0 is teacher forcing. In the paper it grows while the model learns:
            ``ScheduledStrength(technique, "probability", linear_strength(0.0, 0.5))``.
        sample: draw tokens by their probabilities; else take the likeliest.

    Raises:
        ValueError: the probability is not between 0 and 1; the model does not predict the next token; see ``Decoder``.

    Note:
        A forward pass more per step, about a third of its time. No gradient passes through the choice. The first pass
        reads right tokens, so that a token of its own never follows another one that is chosen for what it has read.

    Example:
        >>> ScheduledSampling(0.25).name
        'scheduled_sampling'
    """

    def __init__(self, probability: float = 0.25, *, sample: bool = True) -> None:
        checked_number("probability", probability, least=0, most=1)
        self.probability, self.sample = probability, sample

    @property
    def active(self) -> bool:
        """Whether any token may be replaced."""
        return self.probability != 0

    def prepare(self, trainer: Host) -> None:
        """Finds the parts of the model."""
        self._trainer, self._decoder = trainer, Decoder(trainer.model)

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """A pass without gradient, then the one that is trained."""
        if batch.get("labels") is None:
            return run(batch)
        reading = self._decoder.reading(batch, self._trainer.task_loss)
        with torch.no_grad():
            logits = self._trainer.task_loss.logits_of(run.forward(batch))[:, :-1]  # (batch, length - 1, classes)
            own = self._written(logits[..., : self._decoder.vocabulary.size])
        own = torch.cat([reading.ids[:, :1], own.to(reading.ids.dtype)], dim=1)
        chosen = torch.rand(own.shape, device=own.device) < self.probability
        return run(batch | {reading.name: reading.instead(torch.where(chosen, own, reading.ids))[reading.name]})

    def _written(self, logits: Tensor) -> Tensor:
        """Ids, shape ``(batch, length)``."""
        if not self.sample:
            return logits.argmax(-1)
        shares = at_least_fp32(logits).softmax(-1)
        return shares.flatten(0, 1).multinomial(1).view(shares.shape[:-1])
