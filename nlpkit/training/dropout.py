"""Dropout of a model: setting it, and refusing passes that do without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn


def set_dropout(
    model: nn.Module, probability: float, places: Sequence[tuple[Any, str]] | None = None
) -> Callable[[], None]:
    """Give every dropout of a model a probability, that of its attention included.

    Args:
        model: changed in place.
        probability: from 0 to below 1.
        places: its ``dropout_places``, which take milliseconds to find; ``None`` means they are not known.

    Returns:
        A function that gives each place the probability that it had.

    Raises:
        ValueError: no probability, or the model has no dropout to set.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
        >>> give_back = set_dropout(model, 0.3)
        >>> model[1]
        Dropout(p=0.3, inplace=False)
        >>> give_back()
        >>> model[1]
        Dropout(p=0.1, inplace=False)
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout is a probability from 0 to below 1, not {probability}")
    places = dropout_places(model) if places is None else places
    if not places:
        raise ValueError(f"{type(model).__name__} has no module with dropout that could be set to {probability}")
    before = [(owner, name, getattr(owner, name)) for owner, name in places]
    for owner, name in places:
        setattr(owner, name, probability)

    def give_back() -> None:
        for owner, name, own in before:
            setattr(owner, name, own)

    return give_back


def dropout_places(model: nn.Module) -> list[tuple[Any, str]]:
    """Where a model keeps the probabilities of its dropout.

    Args:
        model: any module.

    Returns:
        Owners and names of numbers: of modules such as ``nn.Dropout``; of modules that apply dropout as a function,
        as the layers of BART and the attention of most models do; and of configurations, which some modules read in
        each pass (Falcon, ProphetNet) or build others from (BigBird).

    Note:
        Leaving out whole layers (``layerdrop``) or paths (``DropPath``) is no dropout. Nor is there a place where a
        model has built an ``nn.Identity`` for a probability of 0, as summaries of XLNet do.

    Example:
        >>> dropout_places(nn.MultiheadAttention(2, 1))[0][1]
        'dropout'
    """
    found = {(id(owner), name): (owner, name) for module in model.modules() for owner, name in _of_module(module)}
    return list(found.values())


def _of_module(module: nn.Module) -> list[tuple[Any, str]]:
    if "Dropout" in type(module).__name__:
        return [(module, name) for name in ("p", "drop_prob") if _is_number(getattr(module, name, None))]
    owners = [module, *([module.config] if hasattr(module, "config") else [])]
    return [
        (owner, name)
        for owner in owners
        for name, value in vars(owner).items()
        if ("dropout" in name or "pdrop" in name) and _is_number(value)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class PassesDiffer:
    """Refuses two passes of a model that never differ, since it has no dropout.

    In half precision a few numbers may round to the same, whatever the dropout: equal ones are counted over steps, and
    a single other one ends the count.

    Args:
        technique: that runs two passes, for the message.
        way_out: what to do, for the message.

    Example:
        >>> passes = PassesDiffer("R-Drop", "give dropout=0.1")
        >>> passes.look(torch.ones(1), torch.ones(1))
        >>> passes.look(torch.zeros(99), torch.zeros(99))
        Traceback (most recent call last):
        ValueError: R-Drop: both passes are equal but for rounding, so the model has no dropout: give dropout=0.1
    """

    #: Numbers that are equal by chance no more: even where three of four are, in one run of 100 million.
    enough = 64

    def __init__(self, technique: str, way_out: str) -> None:
        self._technique, self._way_out = technique, way_out
        self._equal, self._differed = 0, False

    def look(self, first: Tensor, second: Tensor) -> None:
        """Compare numbers of both passes.

        Args:
            first: any shape.
            second: the same shape.

        Raises:
            ValueError: all numbers so far were equal, and they are many.
        """
        if self._differed or not first.numel():
            return
        gap, size = (first - second).abs().max(), torch.maximum(first.abs().max(), second.abs().max())
        # Rows round by where they stand; NaN is no equality.
        self._differed = not bool(gap <= 64 * torch.finfo(torch.float32).eps * size)
        self._equal += first.numel()
        if not self._differed and self._equal >= self.enough:
            raise ValueError(
                f"{self._technique}: both passes are equal but for rounding, so the model has no dropout: "
                f"{self._way_out}"
            )
