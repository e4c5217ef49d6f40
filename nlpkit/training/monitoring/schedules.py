"""Strengths of techniques that change as training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Batch, Host, Items, Run, Technique

#: From progress, 0 at the first step and towards 1 at the last, to a strength.
Strength = Callable[[float], float]


def linear_strength(start: float, end: float) -> Strength:
    """A straight line.

    Example:
        >>> linear_strength(0.0, 4.0)(0.25)
        1.0
    """
    return lambda progress: start + (end - start) * progress


def cosine_strength(start: float, end: float) -> Strength:
    """Half a wave: slow at both ends.

    Example:
        >>> cosine_strength(0.0, 4.0)(0.5)
        2.0
    """
    return lambda progress: end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup_strength(end: float, warmup: float) -> Strength:
    """From 0 up to ``end`` in a share of training, and constant from there on.

    Example:
        >>> [warmup_strength(4.0, warmup=0.5)(progress) for progress in (0.0, 0.25, 0.75)]
        [0.0, 2.0, 4.0]
    """
    return lambda progress: end * min(1.0, progress / warmup) if warmup > 0 else end


class ScheduledStrength(Technique):
    """Set a number of a technique, or of a loss, before each step, from how far training is.

    Args:
        target: the technique, which must be in the Trainer's list as well, or the loss of the task.
        attribute: the name of its number, such as ``"weight"``.
        schedule: from progress to the number: ``linear_strength(0.0, 4.0)``, or any function.

    Raises:
        TypeError: the attribute is no number, or is not there; the message lists those that are.
        ValueError: the technique is not in the list, or the loss is not the Trainer's; another one sets the same
            number; the technique acts on the whole of training, as averages of weights do, and its ``weight`` is to
            change within; or the schedule gives no finite number.

    Note:
        The number follows from the step alone, so a resumed run goes on as it was; each log has its mean by the name
        ``<technique>.<attribute>``. While ``weight`` is 0 the technique is not there, as ever. When training ends the
        number is what it was before. Numbers that a technique copies when training begins are not followed.

    Example:
        >>> from nlpkit.training import RDrop
        >>> r_drop = RDrop()
        >>> techniques = [r_drop, ScheduledStrength(r_drop, "weight", linear_strength(0.0, 4.0))]
        >>> techniques[1].name
        'r_drop.weight'
    """

    def __init__(self, target: Technique | Loss, attribute: str, schedule: Strength) -> None:
        if not _is_number(found := getattr(target, attribute, None)):
            what = f"{found!r}, not a number" if hasattr(target, attribute) else "not there"
            raise TypeError(
                f"ScheduledStrength: {type(target).__name__}.{attribute} is {what}; its numbers are "
                f"{', '.join(_numbers(target)) or 'none'}"
            )
        self.target, self.attribute, self.schedule = target, attribute, schedule
        self._own: float | None = None  # before training

    @property
    def name(self) -> str:
        """Of the number, in the log."""
        owner = self.target.name if isinstance(self.target, Technique) else type(self.target).__name__
        return f"{owner}.{self.attribute}"

    def prepare(self, trainer: Host) -> None:
        """Refuses what the Trainer does not read."""
        self._args = trainer.args
        techniques: list[Technique] = getattr(trainer, "techniques", [])
        kind = type(self.target).__name__
        if isinstance(self.target, Technique):
            if not any(other is self.target for other in techniques):
                raise ValueError(f"ScheduledStrength: {kind} is not in techniques=: give it there as well")
            if self.attribute == "weight" and self.target.spans_training:
                raise ValueError(f"ScheduledStrength: {kind} acts on the whole of training, with a weight or without")
        elif trainer.given_loss is None or not any(part is self.target for part in trainer.given_loss.modules()):
            raise ValueError(f"ScheduledStrength: this {kind} is not what the Trainer trains on: give it as loss= too")
        for other in techniques:
            same = isinstance(other, ScheduledStrength) and other.target is self.target
            if other is not self and same and getattr(other, "attribute", None) == self.attribute:
                raise ValueError(f"ScheduledStrength: two of them set {self.name}: give one, whose schedule is both")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """For the first step."""
        self._own = getattr(self.target, self.attribute)
        self._set(state)

    def leave(self) -> None:
        """The number is what it was."""
        if self._own is not None:
            setattr(self.target, self.attribute, self._own)
        self._own = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """For the next step: its items are counted before it begins."""
        self._set(state)

    def _set(self, state: TrainerState) -> None:
        progress = state.global_step / max(1, state.max_steps)
        hint = f"the schedule gave it at progress {progress:g}"
        setattr(self.target, self.attribute, checked_number(self.name, float(self.schedule(progress)), hint=hint))

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Logs the number; logs add up over processes."""
        value = getattr(self.target, self.attribute) / self._args.world_size
        run.log(self.name, torch.tensor(value, device=self._args.device))


def those_that_may_act(techniques: Sequence[Technique]) -> list[Technique]:
    """Techniques with a weight, and those that a schedule may give one; the others are as if they were not there.

    Args:
        techniques: of a Trainer, schedules included.

    Returns:
        Those, in their order.

    Example:
        >>> from nlpkit.training import FGM, RDrop
        >>> r_drop = RDrop(0.0)
        >>> techniques = [FGM(weight=0.0), r_drop, ScheduledStrength(r_drop, "weight", linear_strength(0.0, 4.0))]
        >>> [technique.name for technique in those_that_may_act(techniques)]
        ['r_drop', 'r_drop.weight']
    """
    scheduled = [technique.target for technique in techniques if isinstance(technique, ScheduledStrength)]
    return [technique for technique in techniques if technique.active or any(technique is it for it in scheduled)]


def _numbers(target: Technique | Loss) -> list[str]:
    """Names of what can be scheduled."""
    own = {"weight", *vars(target)} if isinstance(target, Technique) else vars(target)
    return sorted(name for name in own if name[0] != "_" and name != "ordinal" and _is_number(getattr(target, name)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
