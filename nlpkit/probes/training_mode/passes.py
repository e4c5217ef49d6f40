"""A pass in training of which nothing is left behind, and the place in the model where something happens."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def training_copy(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of a model in training, as a Trainer puts it; random numbers that are drawn within are given back."""
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        yield copy.deepcopy(model).train()


@contextmanager
def places_of(model: nn.Module) -> Iterator[Callable[[], str]]:
    """Tells within a pass which module is running.

    Args:
        model: whose passes are watched.

    Yields:
        A function that gives the innermost module's name.

    Example:
        >>> class Telling(nn.Module):
        ...     def forward(self, states):
        ...         print(place())
        ...         return states
        >>> model = nn.Sequential(nn.Linear(2, 2), Telling())
        >>> with places_of(model) as place:
        ...     _ = model(torch.ones(1, 2))
        1
    """
    running: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: void(running.pop()), always_call=True))
    try:
        yield lambda: running[-1] if running else ""
    finally:
        for hook in hooks:
            hook.remove()


def kind_of_place(name: str) -> str:
    """A module's name with ``*`` for numbers, alike for all layers.

    Example:
        >>> kind_of_place("encoder.layer.11.attention")
        'encoder.layer.*.attention'
    """
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)


def first_output(outputs: Any) -> Tensor:
    """What a model answers: its logits, or its last states.

    Raises:
        ValueError: it answers neither.
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        for name in ("logits", "last_hidden_state"):
            if isinstance(outputs.get(name), Tensor):
                return outputs[name]
        raise ValueError(f"no logits nor last_hidden_state among {', '.join(outputs)}: give a model of transformers")
    return outputs[0]


def void(value: object) -> None:
    """Nothing, so that a hook replaces no output."""
