"""Strengths of techniques that change as training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

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
        TypeError: the attribute is no number.
        ValueError: the technique is not in the list; or another one sets the same number.

    Note:
        The number follows from the step alone, so a resumed run goes on as it was; each log has its mean by the name
        ``<technique>.<attribute>``. While ``weight`` is 0 the technique is not there, as ever. Numbers that a
        technique copies when training begins are not followed.

    Example:
        >>> from nlpkit.training import RDrop
        >>> r_drop = RDrop()
        >>> techniques = [r_drop, ScheduledStrength(r_drop, "weight", linear_strength(0.0, 4.0))]
        >>> techniques[1].name
        'r_drop.weight'
    """

    def __init__(self, target: Technique | Loss, attribute: str, schedule: Strength) -> None:
        found = getattr(target, attribute, None)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise TypeError(f"ScheduledStrength: {type(target).__name__}.{attribute} is {found!r}, not a number")
        self.target, self.attribute, self.schedule = target, attribute, schedule

    @property
    def name(self) -> str:
        """Of the number, in the log."""
        owner = self.target.name if isinstance(self.target, Technique) else type(self.target).__name__
        return f"{owner}.{self.attribute}"

    def prepare(self, trainer: Host) -> None:
        """Refuses a technique that is not in the list."""
        self._args = trainer.args
        techniques: list[Technique] = getattr(trainer, "techniques", [])
        if isinstance(self.target, Technique) and not any(other is self.target for other in techniques):
            raise ValueError(
                f"ScheduledStrength: {type(self.target).__name__} is not in techniques=: give it there as well"
            )
        for other in techniques:
            same = isinstance(other, ScheduledStrength) and other.target is self.target
            if other is not self and same and getattr(other, "attribute", None) == self.attribute:
                raise ValueError(f"ScheduledStrength: two of them set {self.name}: give one, whose schedule is both")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """For the first step."""
        self._set(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """For the next step: its items are counted before it begins."""
        self._set(state)

    def _set(self, state: TrainerState) -> None:
        setattr(self.target, self.attribute, float(self.schedule(state.global_step / max(1, state.max_steps))))

    def begin(self, run: Run, model: nn.Module, batches: Sequence[Batch], items: Items) -> None:
        """Logs the number; logs add up over processes."""
        value = getattr(self.target, self.attribute) / self._args.world_size
        run.log(self.name, torch.tensor(value, device=self._args.device))
