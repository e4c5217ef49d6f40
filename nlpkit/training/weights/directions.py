"""Gaussian directions in which weights are moved: made from a seed, whenever they are needed, and never kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

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
def moved(tensor: Tensor, seed: Sequence[int], length: float, rows: Tensor | None = None) -> Tensor:
    """A tensor with a multiple of a direction added, rounded once; itself it is left alone.

    Args:
        tensor: any shape.
        seed: of the direction.
        length: by which the direction is multiplied.
        rows: those rows of a matrix that are wanted, shape ``(rows,)``; ``None`` means all of it.

    Returns:
        Of the shape and type of the tensor, or of its rows.

    Example:
        >>> table = torch.zeros(3, 2)
        >>> torch.equal(moved(table, (1, 2), 0.1, rows=torch.tensor([2])), moved(table, (1, 2), 0.1)[2:])
        True
    """
    value = tensor.detach().clone(memory_format=torch.contiguous_format) if rows is None else tensor.detach()[rows]
    flat = value.view(-1)
    columns = torch.arange(tensor.shape[-1] if tensor.dim() else 1, device=tensor.device)
    for place, numbers in direction(tensor, seed):
        if rows is None:
            flat[place] = at_least_fp32(flat[place]) + length * numbers
            continue
        wanted = (rows[:, None] * len(columns) + columns).flatten()
        here = (wanted >= place.start) & (wanted < place.stop)
        flat[here] = (at_least_fp32(flat[here]) + length * numbers[wanted[here] - place.start]).to(flat.dtype)
    return value if rows is not None or tensor.is_contiguous() else torch.empty_like(tensor).copy_(value)


class MovedReads(TorchDispatchMode):
    """Within it whatever reads one of some tensors, a module or a loss, by a view or by itself, reads it moved.

    The tensors themselves are never written to. An operation gets a moved copy that is gone when nobody holds it any
    longer, as a rule when the operation is done; a lookup of an embedding moves only the rows that are looked up.

    Args:
        numbers: the tensors, each with its number, which goes into the seed.
        seed: of the direction.
        length: by which the direction is multiplied.

    Raises:
        ValueError: an operation writes to one of the tensors.
    """

    supports_higher_order_operators = True

    def __init__(self, numbers: Mapping[nn.Parameter, int], seed: Sequence[int], length: float) -> None:
        super().__init__()
        self._numbers, self._seed, self._length = numbers, seed, length
        self._by_storage: dict[int, list[nn.Parameter]] = {}
        for parameter in numbers:
            self._by_storage.setdefault(parameter.untyped_storage().data_ptr(), []).append(parameter)
        #: The tensors that have been read.
        self.read: set[nn.Parameter] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One operation, on moved tensors."""
        if func is torch.ops.aten.detach.default:
            return func(*args)  # another name of the same tensor, which is moved when it is read
        if func is torch.ops.aten.embedding.default and (table := self._behind(args[0])) is not None:
            self.read.add(table)
            rows, places = args[1].unique(return_inverse=True)
            return func(moved(table, self._seed_of(table), self._length, rows), places)
        if getattr(getattr(func, "_schema", None), "is_mutable", False):
            self._refuse_writing(func, args)
        return func(*map(self._replaced, args), **{name: self._replaced(v) for name, v in (kwargs or {}).items()})

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._replaced(item) for item in value]
        if not isinstance(value, Tensor) or (parameter := self._behind(value)) is None:
            return value
        self.read.add(parameter)
        copy = moved(parameter, self._seed_of(parameter), self._length)
        if value.shape == parameter.shape and value.stride() == parameter.stride():
            return copy
        return copy.as_strided(value.shape, value.stride(), value.storage_offset() - parameter.storage_offset())

    def _behind(self, tensor: Tensor) -> nn.Parameter | None:
        """The parameter that a tensor is, or is a view of."""
        if tensor.layout is not torch.strided or not tensor.numel():
            return None
        for parameter in self._by_storage.get(tensor.untyped_storage().data_ptr(), ()):
            if 0 <= tensor.storage_offset() - parameter.storage_offset() < parameter.numel():
                return parameter
        return None

    def _seed_of(self, parameter: nn.Parameter) -> tuple[int, ...]:
        return (*self._seed, self._numbers[parameter])

    def _refuse_writing(self, func: Any, args: tuple[Any, ...]) -> None:
        for argument, value in zip(func._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in (value if isinstance(value, list | tuple) else [value]) if written else ():
                if isinstance(tensor, Tensor) and self._behind(tensor) is not None:
                    raise ValueError(
                        f"{func} writes to a trained weight of shape {tuple(tensor.shape)} while a loss is computed, "
                        "so that the loss on the other side would be another one (an embedding's max_norm does so): "
                        "leave that out, or set requires_grad_(False) on the weight"
                    )
