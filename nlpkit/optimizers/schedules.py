"""Schedules of the learning rate that neither torch nor transformers has."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nlpkit.checked_number import checked_number


class InverseTimeDecay:
    """How far the rate has decayed after a number of steps; see ``inverse_time_schedule``."""

    def __init__(self, half_life: float, warmup_steps: int = 0, squared: bool = False) -> None:
        self.half_life = checked_number("half_life", half_life, above=0)
        self.warmup_steps = checked_number("warmup_steps", warmup_steps, least=0, whole=True)
        self.squared = squared

    def __call__(self, step: int) -> float:
        """The factor of the rate, from 0 to 1."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        time = (step - self.warmup_steps) / self.half_life
        return 1 / (1 + (math.sqrt(2) - 1) * time) ** 2 if self.squared else 1 / (1 + time)


def inverse_time_schedule(
    optimizer: Optimizer, half_life: float, *, warmup_steps: int = 0, squared: bool = False
) -> LambdaLR:
    """Learning rates that fall as ``1 / (1 + t / T)``, for which the number of steps need not be known.

    Source: kexue.fm/archives/9344: ``1 / (2 lr p t + 1)``, where progress slows down as training goes on, and
    ``1 / (lr p t + 1)^2``, where it does not; ``lr p`` follows from the half-life.

    Args:
        optimizer: whose groups' rates are multiplied.
        half_life: steps after which rates are half of what they were.
        warmup_steps: in which rates rise linearly, before that.
        squared: the second of the post's forms; the first is preferred there.

    Returns:
        For ``Trainer(optimizers=(optimizer, schedule))`` or a loop.

    Raises:
        ValueError: the half-life is not positive, or the warm-up negative.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = inverse_time_schedule(optimizer, half_life=2)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     schedule.step()
        >>> schedule.get_last_lr()
        [0.5]
    """
    return LambdaLR(optimizer, InverseTimeDecay(half_life, warmup_steps, squared))
