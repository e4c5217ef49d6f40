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

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> from transformers import BertConfig, BertForMaskedLM, TrainingArguments
        >>> model = BertForMaskedLM(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
        >>> rows = [{"input_ids": torch.tensor([2, 4, 3]), "labels": torch.tensor([-100, 5, -100]), "domain": n % 2}
        ...         for n in range(8)]
        >>> with TemporaryDirectory() as folder:
        ...     arguments = TrainingArguments(folder, use_cpu=True, report_to=[], disable_tqdm=True)
        ...     trainer = MaskedLMTrainer(model=model, args=arguments, eval_dataset=rows, domain_names=["law", "news"])
        ...     found = trainer.evaluate()
        {'eval_...
        >>> found["eval_targets"], found["eval_targets_law"], found["eval_targets_news"]
        (8, 4, 4)
    """

    def __init__(self, *, domain_names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(domain_names=domain_names, loss=CrossEntropyLoss(), **kwargs)
