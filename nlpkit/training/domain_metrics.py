"""Evaluation by domain, from sums of each row, never from stored logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EvalPrediction

from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.frame.techniques_mixin import TechniquesMixin


def sums_by_row(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss, hits and targets of each row.

    Args:
        logits: scores of the labelled positions in reading order, shape ``(labelled, vocab)``.
        labels: ids to predict, -100 elsewhere, shape ``(rows, length)``.

    Returns:
        Summed loss in nats, number of right first guesses, number of targets; fp64, shape ``(rows, 3)``.
    """
    labelled = labels != -100
    targets = labels[labelled]  # (labelled,)
    losses = F.cross_entropy(at_least_fp32(logits), targets, reduction="none")
    hits = logits.argmax(dim=-1) == targets
    values = torch.stack([losses, hits, torch.ones_like(losses)], dim=1).double()  # (labelled, 3)
    sums = torch.zeros(len(labels), 3, dtype=torch.float64, device=labels.device)
    return sums.index_add_(0, labelled.nonzero()[:, 0], values)


def metrics_by_domain(prediction: EvalPrediction, names: Sequence[str]) -> dict[str, float]:
    """Mean loss and accuracy over masked tokens, overall and by domain.

    Args:
        prediction: ``predictions`` are the sums of ``sums_by_row``, ``label_ids`` the domain of each row.
        names: the domains' names.

    Returns:
        ``loss``, ``accuracy`` and ``targets``, then ``loss_<name>`` and so on for each domain that has rows.
    """
    sums, domains = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    groups = {"": sums} | {f"_{name}": sums[domains == index] for index, name in enumerate(names)}
    metrics: dict[str, float] = {}
    for suffix, rows in groups.items():
        loss, hits, targets = rows.sum(axis=0)
        if targets:
            metrics |= {f"loss{suffix}": loss / targets, f"accuracy{suffix}": hits / targets}
            metrics[f"targets{suffix}"] = int(targets)
    return metrics


class MetricsByDomain(TechniquesMixin):
    """A Trainer, of masked language models or encoder-decoders, whose evaluation reports each domain.

    Args:
        *args: as for the Trainer.
        domain_names: the names of the ``"domain"`` numbers that evaluation batches carry.
        **kwargs: as for the Trainer.

    Note:
        Stored logits would take ``targets x vocab`` floats; here each row leaves three numbers, which the Trainer
        gathers over processes as it gathers any prediction.
    """

    def __init__(self, *args: Any, domain_names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, compute_metrics=lambda found: metrics_by_domain(found, domain_names), **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        # Checked on transformers 5.23.0: what is not listed here is removed before the collator sees it.
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        self._signature_columns: Any = [*columns, "draw", "domain"]

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As ``TechniqueTrainer`` does; the domain is none of the model's inputs."""
        inputs = {name: value for name, value in inputs.items() if name != "domain"}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer does; rows that fill up the last batch of several processes are not counted twice."""
        # Checked on transformers 5.23.0: Seq2SeqTrainer gathers them all, each time it evaluates.
        self.gather_function = self.accelerator.gather_for_metrics
        return super().evaluation_loop(*args, **kwargs)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **generation: Any,
    ) -> tuple[None, Tensor, Tensor]:
        """Score one batch; returns no loss, the sums of each row ``(rows, 3)``, and the domains ``(rows,)``."""
        inputs = self._prepare_inputs(inputs)
        domains = inputs.pop("domain")
        labels = inputs["labels"]
        with torch.inference_mode():
            logits = model(**inputs).logits  # (labelled, vocab), or (rows, length, vocab) of a dense head
            if logits.dim() == 3:
                logits = logits[labels != -100]
            return None, sums_by_row(logits, labels), domains
