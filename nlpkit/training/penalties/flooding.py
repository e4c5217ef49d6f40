"""Flooding: below a level, the loss is to rise again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import Loss
from nlpkit.training.differences import kept_choice
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
        Per instance and micro-batch, each pass of an adversary is compared with the level by itself, and what the
        adversary raises is the flooded loss, so that below the level it moves a row to where its loss is lower still;
        per step it raises the loss as it is. ``GradientPenalty`` and ``ImplicitGradient``, which take the difference
        of two passes, keep the signs of the first. Costs nothing. Logs hold the loss as it is, not ``|L - b| + b``.
        Per step, gradients are turned round after clipping, which does not see their sign. ``MeZO``, which has
        values of the loss and no gradients, would not see it at all, per instance either, and refuses it.

    Example:
        >>> Flooding(0.1, per="micro-batch").scope
        'micro-batch'
    """

    def __init__(
        self, level: float, *, per: Literal["micro-batch", "step", "instance"] = "step", weight: float = 1.0
    ) -> None:
        if per not in ("micro-batch", "step", "instance"):
            raise ValueError(f'Flooding: per={per!r} is none of "micro-batch", "step", "instance"')
        self.level, self.per = checked_number("Flooding: level", level), per
        self.weight = checked_number("Flooding: weight", weight, least=0)
        self.scope = "row" if per == "instance" else per  # what the sign of an item's gradient depends on

    @property
    def judges_passes(self) -> bool:
        """Per step it only adds up what they have lost."""
        return self.per != "step"

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
            factor = kept_choice(self._factor(loss))
            return {name: _scaled_gradient(term, factor) for name, term in terms.items()}
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
        logits, labels = loss.items_in(loss.logits_in(outputs, batch), loss.labels_of(batch))
        values, weights = loss.values(logits, labels), loss.item_weights(labels)
        own = values.detach() / torch.where(weights == 0, 1, weights)  # values have the items' weights in them
        turned = ((kept_choice(self._factor(own)) - 1) * values).sum() / items["loss"]
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
