"""Cross-entropy weighted by F1: the direction of F1, as a sum over items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.divergences import Divergence, bernoulli
from nlpkit.losses.imbalance.margins import margins, times
from nlpkit.losses.labels import one_per_label
from nlpkit.losses.loss import Loss
from nlpkit.losses.step_sums import StepSums


class F1WeightedLoss(Loss):
    """Cross-entropy of 0 and 1 in which labels that are 1 weigh ``1 - F / 2``, and others ``F / 2``.

    Source: kexue.fm/archives/7708: the derivative of F1 by a probability is ``2 (y - F / 2) / sum(y + p)``, of which
    this takes the weights and cross-entropy takes the direction. F is the soft F1 of all cells over the last steps,
    and a number: it passes no gradient.

    Args:
        momentum: of the sums that F is made of. Until a step is done, F is 1.

    Raises:
        ValueError: the momentum is out of its range, or labels are not 0 and 1.

    Note:
        Weights are those from before the step, so that accumulation and processes change nothing (see ``StepSums``),
        and are kept in checkpoints. Where F is small, mistakes on labels that are 1 count most. Evaluation uses the
        last weights and leaves them. ``TechniqueTrainer`` begins each training anew, unless it is resumed; elsewhere
        call ``restart()``.

    Example:
        >>> loss = F1WeightedLoss()
        >>> loss(torch.zeros(2, 1), torch.tensor([[1], [0]])).item()  # weights 1/2 and 1/2
        0.346...
        >>> loss.f1.item()
        1.0
        >>> _ = loss(torch.zeros(2, 1), torch.tensor([[1], [0]]))
        >>> loss.f1.item()
        0.5
    """

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        self.sums = StepSums(momentum, 2)

    @property
    def f1(self) -> Tensor:
        """F of the steps that are done, shape ``()``."""
        hits, total = self.sums.done
        return torch.where(total > 0, 2 * hits / total, 1.0)

    @property
    def divergence(self) -> Divergence:
        """Of the answer of each cell."""
        return bernoulli()

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without the last dimension, where it is the only logit of a binary label."""
        return one_per_label(logits, labels)

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As ``Loss.average``; a new tensor of items begins a new step."""
        self.sums.before(items)
        return super().average(outputs, labels, items, mask)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted nats, shape ``(cells,)``."""
        margin = margins(logits, labels, multi_label=True)
        positive, f1 = labels == 1, self.f1.to(logits.dtype)
        chances = logits.sigmoid()
        self.sums.add(torch.stack([chances[positive].sum(), chances.sum() + positive.sum()]))
        return times(F.softplus(-margin), torch.where(positive, 1 - f1 / 2, f1 / 2))
