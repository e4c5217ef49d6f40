"""The Trainer for masked language models: evaluation by domain from sums, never from stored logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.training.domain_metrics import MetricsByDomain
from nlpkit.training.trainer import TechniqueTrainer


class MaskedLMTrainer(MetricsByDomain, TechniqueTrainer):
    """A Trainer whose evaluation needs no memory for logits and reports each domain.

    Args:
        domain_names: the names of the ``"domain"`` numbers that evaluation batches carry.
        **kwargs: as for ``TechniqueTrainer``, techniques among them; the loss is cross-entropy.

    Raises:
        ValueError: on training, the model's parameters are fp16.
    """

    def __init__(self, *, domain_names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(domain_names=domain_names, loss=CrossEntropyLoss(), **kwargs)
