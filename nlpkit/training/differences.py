"""Differences of gradients: two passes that differ by a small move alone, in numbers fine enough to show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from nlpkit.training.random_state import RandomState
from nlpkit.training.technique import Host


class _Choices:
    """Those of the first of two passes, which the second one makes again."""

    def __init__(self) -> None:
        self._made: list[Tensor] = []
        self._left: Iterator[Tensor] | None = None

    def again(self) -> None:
        self._left = iter(self._made)

    def of(self, choice: Tensor) -> Tensor:
        if self._left is not None:
            return next(self._left)
        self._made.append(choice)
        return choice


_TWINS: ContextVar[tuple[_Choices, ...]] = ContextVar("twin passes that run, outermost first", default=())


@contextmanager
def twin_passes() -> Iterator[Callable[[], None]]:
    """Within, a second pass draws the dropout of the first, and what is given to ``kept_choice`` is that of the first.

    Yields:
        A function to call between the two.

    Example:
        >>> with twin_passes() as again:
        ...     first = kept_choice(torch.tensor(1.0))
        ...     again()
        ...     second = kept_choice(torch.tensor(-1.0))
        >>> first.item(), second.item()
        (1.0, 1.0)
    """
    drawn, choices = RandomState(), _Choices()

    def again() -> None:
        drawn.again()
        choices.again()

    before = _TWINS.set((*_TWINS.get(), choices))
    try:
        yield again
    finally:
        _TWINS.reset(before)


def kept_choice(choice: Tensor) -> Tensor:
    """What jumps as a loss moves, such as a sign: in the second of twin passes, that of the first.

    A difference divided by a small move would make a huge gradient of a jump.
    """
    for choices in _TWINS.get():
        choice = choices.of(choice)
    return choice


def refuse_coarse_numbers(technique: str, trainer: Host, way_out: str) -> None:
    """Refuse precisions in which the difference of two gradients is lost in rounding.

    Args:
        technique: that takes it.
        trainer: whose precision it is.
        way_out: what to do, for the message.

    Raises:
        ValueError: the trainer's mixed precision, a parameter or products of matrices have less than fp32.

    Note:
        Of moves small enough for the difference to be a derivative, 8 bits see nothing: measured in bf16 autocast, the
        error is nearly as large as the derivative, whatever the length of the move.
    """
    args = trainer.args
    narrow = {p.dtype for p in trainer.model.parameters() if p.dtype in (torch.float16, torch.bfloat16)}
    coarse = {args.mixed_precision} - {"no"} | {str(dtype).removeprefix("torch.") + " parameters" for dtype in narrow}
    if args.device.type == "cuda" and torch.backends.cuda.matmul.fp32_precision == "tf32":
        coarse.add("tf32")
    if coarse:
        raise ValueError(
            f"{technique} takes a difference of two gradients, which is lost in the rounding of {min(coarse)}: "
            f"{way_out}"
        )
