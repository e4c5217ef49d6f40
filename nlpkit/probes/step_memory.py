"""How many bytes a training step keeps and needs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def saved_activation_bytes(model: nn.Module, forward: Callable[[], Any]) -> int:
    """Count what a forward pass keeps for the backward pass, weights and inputs left out.

    Args:
        model: its parameters and buffers are not counted.
        forward: runs the pass.

    Returns:
        Bytes of memory, each piece counted once however many operations keep it.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> inputs = torch.ones(3, 4)
        >>> saved_activation_bytes(layer, lambda: layer(inputs).square())  # the square keeps its (3, 2) input
        24
    """
    known = {_address(tensor) for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # Held on to, so that no address is used twice.
        kept.setdefault(_address(tensor), tensor)
        return tensor

    made = _MadeStorages()
    with made, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(
        tensor.untyped_storage().nbytes()
        for address, tensor in kept.items()
        if address not in known and address in made.addresses
    )


def gradient_bytes(model: nn.Module) -> int:
    """Bytes of the gradients that a model's parameters hold."""
    return _tensor_bytes(parameter.grad for parameter in model.parameters())


def optimizer_bytes(optimizer: Optimizer) -> int:
    """Bytes of what an optimizer remembers of its parameters."""
    return _tensor_bytes(value for state in optimizer.state.values() for value in state.values())


def peak_bytes(step: Callable[[], Any], device: torch.device) -> int:
    """The most memory that a step needs above what is there before it.

    Args:
        step: a training step.
        device: on a GPU the allocator's own count is read; elsewhere the tensors are counted as operations make them,
            which leaves out what operations need only inside themselves.

    Returns:
        Bytes.

    Example:
        >>> peak_bytes(lambda: (torch.ones(1024) + 1).sum(), torch.device("cpu"))
        8192
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveBytes() as live:
        step()
    return live.peak


class _MadeStorages(TorchDispatchMode):
    """Notes where the tensors that operations return lie in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # A view of an input has been made, its memory has not.
        self.addresses |= _addresses(result) - _addresses((args, kwargs))
        return result


class _LiveBytes(TorchDispatchMode):
    """Adds up the memory of tensors that operations make, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = _addresses((args, kwargs))
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _address(tensor) not in given:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._seen:
            self._seen.add(address)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, address, size)

    def _free(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.live -= size


def _tensor_bytes(values: Iterable[Any]) -> int:
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))


def _addresses(tree: Any) -> set[int]:
    return {_address(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
