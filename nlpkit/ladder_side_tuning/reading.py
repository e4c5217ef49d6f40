"""What the states of a backbone are made of: the weights that a pass reads until it has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.dense_weights import is_quantised
from nlpkit.ladder_side_tuning.blocks.stacks import Stack
from nlpkit.ladder_side_tuning.side.climb import TapsGathered
from nlpkit.ladder_side_tuning.side.rungs import Rung
from nlpkit.modes import evaluating

#: A weight: the name of its module, and its own name there.
Place = tuple[str, str]


@dataclass
class Reading:
    """Weights in the order in which a pass read them.

    Attributes:
        places: of parameters and of whatever else is saved of a model, each once.
        marks: how many of them had been read when a block was through, by stack and layer.
        modules: names of those that have weights and ran.
    """

    places: dict[Place, None] = field(default_factory=dict)
    marks: dict[tuple[str, int], int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)

    def weights(self, model: nn.Module, of: Callable[[nn.Module], Mapping[str, Tensor]] | None = None) -> list[Tensor]:
        """The weights as they are now, in the same order.

        Args:
            model: that was read.
            of: gives those of a module; by default ``own_weights``.
        """
        names = dict.fromkeys(module for module, _ in self.places)
        found = {name: (of or own_weights)(model.get_submodule(name)) for name in names}
        return [found[module][name] for module, name in self.places]

    def ran(self, name: str) -> bool:
        """Whether a module or a part of it was run, and does not merely share a weight with one that was."""
        return any(module == name or module.startswith(f"{name}.") for module in self.modules)


@torch.no_grad()
def read_until(model: PreTrainedModel, blocks: Sequence[tuple[Stack, int, nn.Module]], leaves: bool = True) -> Reading:
    """Run a model below its head on two tokens and note which weights it reads until some of its blocks are through.

    That is found by running and not by names: weights count that a module has which runs, or that any operation gets,
    so neither a norm nor a table of relative positions nor an embedding that a head shares is missed.

    Args:
        model: any model.
        blocks: of the stacks in their order, with the layer that each is; what is read behind the last does not count.
        leaves: whether the pass is left behind the last block.

    Returns:
        The weights.

    Raises:
        RuntimeError: the model did not run its blocks on these inputs.
        ValueError: reading a short text makes another model of it.
    """
    reading = Reading()
    # A quantised layer rearranges its weights when it first runs, so its operations get them in another order then.
    quantised = {name for name, module in model.named_modules() if is_quantised(module)}
    weights = {place: weight for place, weight in saved_weights(model).items() if place[0] not in quantised}
    names = {id(weight): place for place, weight in reversed(weights.items())}
    hooks = [
        module.register_forward_hook(partial(_read_module, reading, name, names))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    for number, (stack, layer, block) in enumerate(blocks):
        is_left = leaves and number + 1 == len(blocks)
        hooks.append(block.register_forward_hook(partial(_mark, reading, (stack.name, layer), is_left)))
    try:
        with _unchanged(model), evaluating(model), _Operations(reading, names), suppress(TapsGathered):
            model.base_model.forward(**two_tokens(model))
    finally:
        for hook in hooks:
            hook.remove()
    if len(reading.marks) < len(blocks):
        raise RuntimeError(f"{type(model).__name__} did not run its blocks on two tokens")
    reading.places = dict.fromkeys(list(reading.places)[: max(reading.marks.values())])
    return reading


def two_tokens(model: PreTrainedModel) -> dict[str, Tensor]:
    """Inputs of a model below its head."""
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids}
    # Not the head's inputs, which may be of any kind.
    taken = inspect.signature(model.base_model.forward).parameters
    return {name: value for name, value in inputs.items() if name in taken}


def frozen_blocks(model: nn.Module, stacks: Sequence[Stack], lower: int | None = None) -> list[Any]:
    """The blocks of a plain model or of a ladder for ``read_until``.

    Args:
        model: that holds them.
        stacks: of the model.
        lower: only so many of each stack.

    Returns:
        Stack, layer and block of each.
    """
    return [
        (stack, layer, block.block if isinstance(block, Rung) else block)
        for stack in stacks
        for layer, block in enumerate(list(stack.blocks(model))[:lower])
    ]


def modules_above(model: nn.Module, reading: Reading) -> list[str]:
    """The modules of which nothing was read, the largest there are.

    Args:
        model: the plain model.
        reading: of it.

    Returns:
        Names of modules with weights; none lies inside another.
    """
    read = {id(tensor) for tensor in reading.weights(model)}
    found: list[str] = []
    for name, module in model.named_modules():
        weights = [id(parameter) for parameter in module.parameters()]
        is_inside = f"{name}.".startswith(tuple(f"{other}." for other in found))
        if name and weights and not is_inside and not read & set(weights):
            found.append(name)
    return found


def saved_weights(model: nn.Module) -> dict[Place, Tensor]:
    """The parameters of a model, and the buffers that are saved with them."""
    return {
        (name, own): tensor for name, module in model.named_modules() for own, tensor in own_weights(module).items()
    }


def own_weights(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of a module itself, and its buffers that are saved; those of its children left out."""
    # Not through state_dict, by which quantised layers rearrange their weights.
    buffers = {
        name: buffer
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    }
    return dict(module.named_parameters(recurse=False)) | buffers


@contextmanager
def _unchanged(model: PreTrainedModel) -> Iterator[None]:
    """Refuse a model that changes a setting of its own by reading a short text, as BigBird does, and undo the change.

    Raises:
        ValueError: it does.
    """
    names = model.config.to_dict().keys()
    before = [
        (module, dict(module._modules), {name: value for name, value in vars(module).items() if name in names})
        for module in model.modules()
    ]
    yield
    changed = {
        name: (value, vars(module)[name])
        for module, _, settings in before
        for name, value in settings.items()
        if isinstance(value, str) and vars(module)[name] != value
    }
    if not changed:
        return
    for module, children, settings in before:
        module._modules.update(children)
        vars(module).update(settings)
    name, (was, found) = next(iter(changed.items()))
    raise ValueError(
        f"{type(model).__name__} changes its {name} from {was!r} to {found!r} for good when it reads a short text, so "
        f"its states depend on what it read before; load it with {name}={found!r}"
    )


class _Operations(TorchFunctionMode):
    """Notes the weights that operations get as arguments."""

    def __init__(self, reading: Reading, names: Mapping[int, Place]) -> None:
        super().__init__()
        self.reading, self.names = reading, names

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") != "__get__":  # a look at the shape, the type or the device
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor) and id(leaf) in self.names:
                    self.reading.places[self.names[id(leaf)]] = None
        return func(*args, **(kwargs or {}))


def _read_module(
    reading: Reading, name: str, names: Mapping[int, Place], module: nn.Module, args: Any, output: Any
) -> None:
    reading.modules.add(name)
    for own_name, tensor in own_weights(module).items():
        reading.places[names.get(id(tensor), (name, own_name))] = None


def _mark(reading: Reading, place: tuple[str, int], is_left: bool, module: nn.Module, args: Any, output: Any) -> None:
    reading.marks[place] = len(reading.places)
    if is_left:
        raise TapsGathered
