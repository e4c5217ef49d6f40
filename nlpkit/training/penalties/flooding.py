"""Flooding: below a level, the loss is to rise again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.losses.loss import Loss, at_least_fp32
from nlpkit.training.technique import Batch, Host, Items, Run, Technique, Terms, total


class Flooding(Technique):
    """Keep the training loss at a level: below it, gradients turn round.

    Source: arXiv 2002.08709 and kexue.fm/archives/7643: ``|L - b| + b``, whose gradient is
    ``sign(L - b)`` times that of the loss. A step down and a step up together are one of size ``rate^2 / 2`` on
    ``||dL/dtheta||^2``. ``per="instance"`` is iFlood (ICLR 2022), the mean of ``|l - b| + b`` over items.

    Args:
        level: b, in units of the loss; see ``suggest_flood_level``. It must lie above the lowest loss that training
            reaches, which label smoothing raises.
        per: whose loss is compared with the level. ``"step"``: that of the whole optimizer step, its micro-batches and
            processes, and of all techniques that stand behind this one in the list; list it first. ``"instance"``:
            that of each item of the task's own loss; other terms stay as they are. ``"micro-batch"``: that of each
            micro-batch, all terms before this one in order of application, as most implementations have it; refuses
            accumulation.
        weight: share of the flooded loss, beside the loss as it is: 1 is flooding, 0 none.

    Raises:
        ValueError: an unknown ``per``; or ``"instance"`` beside a loss that is no sum over items.

    Note:
        Costs nothing. Logs hold the loss as it is, not ``|L - b| + b``. Per step, gradients are turned round after
        clipping, which does not see their sign.

    Example:
        >>> Flooding(0.1, per="micro-batch").scope
        'micro-batch'
    """

    def __init__(
        self, level: float, *, per: Literal["micro-batch", "step", "instance"] = "step", weight: float = 1.0
    ) -> None:
        if per not in ("micro-batch", "step", "instance"):
            raise ValueError(f'Flooding: per={per!r} is none of "micro-batch", "step", "instance"')
        self.level, self.per, self.weight = level, per, weight
        self.scope = "row" if per == "instance" else per  # what the sign of an item's gradient depends on

    def prepare(self, trainer: Host) -> None:
        """Needs the trainer's loss, per instance."""
        self._trainer = trainer

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Nothing of a step that failed is left."""
        self._seen = torch.zeros((), dtype=torch.float64, device=self._trainer.args.device)

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """Keeps the loss of the step."""
        loss = run(batch)
        self._seen += loss
        return loss

    def terms(self, terms: Terms, outputs: Any, batch: Batch, items: Items) -> Terms:
        """The same values, with the gradients of what lies below the level turned round."""
        if self.per == "micro-batch":
            loss = total(terms).detach() * self._trainer.args.world_size
            return {name: _scaled_gradient(term, self._factor(loss)) for name, term in terms.items()}
        if self.per == "instance":
            return terms | {"loss": self._instances(terms["loss"], outputs, batch, items)}
        return terms

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Turns all gradients round where the step's loss lies below the level."""
        if self.per != "step" or not self.active:
            return
        if args.world_size > 1:
            torch.distributed.all_reduce(self._seen)
        factor = self._factor(self._seen / args.world_size).item()  # a process holds its share times their number
        groups = others["optimizer"].param_groups
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if factor != 1.0 and gradients:
            torch._foreach_mul_(gradients, factor)

    def _factor(self, loss: Tensor) -> Tensor:
        return 1 + self.weight * (torch.sign(loss - self.level) - 1)

    def _instances(self, term: Tensor, outputs: Any, batch: Batch, items: Items) -> Tensor:
        loss = self._trainer.task_loss
        if type(loss).values is Loss.values or type(loss).terms is not Loss.terms or loss.scope != "row":
            raise ValueError(
                f'Flooding(per="instance") needs the loss of each item, and {type(loss).__name__} is no sum of such: '
                'give per="step"'
            )
        if any(batch.get(column) is None for column in loss.columns):
            return term
        labels = loss.align_labels(loss.labels_of(batch))
        chosen = loss.valid(labels)
        logits = loss.align_logits(loss.logits_of(outputs), labels)
        logits = logits[chosen] if logits.shape[: chosen.dim()] == chosen.shape else logits
        values = loss.values(at_least_fp32(logits), labels[chosen])
        turned = ((self._factor(values.detach()) - 1) * values).sum() / items["loss"]
        return term + turned - turned.detach()


def _scaled_gradient(term: Tensor, factor: Tensor) -> Tensor:
    """The same value with a gradient of another size or sign."""
    return factor * term + ((1 - factor) * term).detach()


def suggest_flood_level(history: Sequence[Mapping[str, float]]) -> float:
    """The training loss at which evaluation was best: below it, a run without flooding learnt nothing that lasts.

    Args:
        history: ``trainer.state.log_history`` of a run without flooding, with logs of training and evaluation.

    Returns:
        The level, in units of the loss. Where evaluation was best at the end, training has not gone too far yet, and
        flooding at this level would only stop it.

    Raises:
        ValueError: there is no ``"eval_loss"``, or no ``"loss"`` before the best of them.

    Example:
        >>> suggest_flood_level([{"loss": 0.9}, {"eval_loss": 0.8}, {"loss": 0.4}, {"eval_loss": 0.6}, {"loss": 0.1},
        ...                      {"eval_loss": 0.7}])
        0.4
    """
    places = [place for place, entry in enumerate(history) if "eval_loss" in entry]
    if not places:
        raise ValueError('history has no "eval_loss": evaluate during training, e.g. with eval_strategy="epoch"')
    best = min(places, key=lambda place: history[place]["eval_loss"])
    before = [entry["loss"] for entry in history[:best] if "loss" in entry]
    if not before:
        raise ValueError('history has no "loss" before its best evaluation: log more often, with logging_steps')
    return before[-1]
