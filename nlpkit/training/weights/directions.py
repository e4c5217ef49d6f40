"""Gaussian directions in which weights are moved: made from a seed, whenever they are needed, and never kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nlpkit.losses.loss import at_least_fp32

#: Numbers that are drawn at a time, and so the memory that a direction takes.
CHUNK = 1 << 20


def direction(parameter: Tensor, seed: Sequence[int]) -> Iterator[tuple[slice, Tensor]]:
    """The direction of a tensor, in pieces.

    Args:
        parameter: whose size and device the direction has.
        seed: of the direction; the same one gives the same direction, on any process with that kind of device.

    Yields:
        Places in the flattened tensor, and independent standard normal numbers there, in fp32 or better.

    Example:
        >>> [(place, len(numbers)) for place, numbers in direction(torch.zeros(2, 3), seed=(1, 2))]
        [(slice(0, 6, None), 6)]
    """
    generator = torch.Generator(parameter.device)
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    for number, start in enumerate(range(0, parameter.numel(), CHUNK)):
        words = np.random.SeedSequence([*seed, number]).generate_state(2, np.uint32)
        generator.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
        size = min(CHUNK, parameter.numel() - start)
        numbers = torch.randn(size, generator=generator, device=parameter.device, dtype=dtype)
        yield slice(start, start + size), numbers


@torch.no_grad()
def move(parameter: Tensor, seed: Sequence[int], length: float, rows: Tensor | None = None) -> None:
    """Add a multiple of a direction to a tensor, in place, rounded once.

    Args:
        parameter: is moved.
        seed: of the direction.
        length: by which the direction is multiplied.
        rows: the rows of a matrix that are moved, shape ``(rows,)``; ``None`` means all of it.
    """
    flat = parameter.detach().view(-1)
    for place, numbers in direction(parameter, seed):
        if rows is None:
            flat[place] = at_least_fp32(flat[place]) + length * numbers
            continue
        width = parameter.shape[1]
        here = (rows[:, None] * width + torch.arange(width, device=rows.device)).flatten()
        here = here[(here >= place.start) & (here < place.stop)]
        flat[here] = (at_least_fp32(flat[here]) + length * numbers[here - place.start]).to(flat.dtype)


class _Moved:
    """A tensor, or rows of it, as it was."""

    def __init__(self, parameter: Tensor, rows: Tensor | None) -> None:
        self.parameter, self.rows = parameter.detach(), rows
        self.value = self.parameter.clone() if rows is None else self.parameter[rows]

    def put_back(self) -> None:
        self.parameter[... if self.rows is None else self.rows] = self.value


@contextmanager
def moved_while_used(
    units: dict[nn.Module, list[tuple[nn.Parameter, int]]], seed: Sequence[int], length: float, used: set[int]
) -> Iterator[None]:
    """Each module runs with its parameters moved, and has them back, to the bit, when it returns.

    Args:
        units: parameters by the module whose run uses them, each with its number, which goes into the seed. Of a
            plain ``nn.Embedding`` only the rows that are looked up are moved.
        seed: of the direction.
        length: by which the direction is multiplied.
        used: the numbers of parameters that were used are added.
    """
    moved: dict[nn.Parameter, _Moved] = {}
    by_unit: dict[nn.Module, list[nn.Parameter]] = {}

    def before(module: nn.Module, inputs: Any) -> None:
        plain = type(module).forward is nn.Embedding.forward and inputs  # others may look up what they were not given
        rows = inputs[0].unique() if plain else None
        by_unit[module] = []
        for parameter, number in units[module]:
            used.add(number)
            if parameter not in moved:  # a tied one may be moved already, by a module around this one
                moved[parameter] = _Moved(parameter, rows)
                by_unit[module].append(parameter)
                move(parameter, (*seed, number), length, rows)

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        for parameter in by_unit.pop(module, []):
            moved.pop(parameter).put_back()

    handles = []
    for module in units:
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for kept in moved.values():  # of a module that has failed
            kept.put_back()
