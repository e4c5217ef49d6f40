"""What modules hand over during a forward pass of training."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

T = TypeVar("T")


class Collector(Generic[T]):
    """Takes what is given while the model that it watches runs in training, and nothing at any other time.

    What gradient checkpointing runs again in the backward pass is outside the model's own run, and so not taken twice.

    Args:
        current: the collector that is at work, which those who give look up.
        anew: whether each run of the model begins with nothing.
    """

    def __init__(self, current: ContextVar[Collector[T] | None], *, anew: bool) -> None:
        self._current, self._anew = current, anew
        self._handles: list[RemovableHandle] = []
        self.found: list[T] = []
        #: Whether the model's run keeps a graph.
        self.with_graph = True

    def watch(self, model: nn.Module, wanted: Callable[[], bool]) -> None:
        """Begin with a model, of whose runs in training those are taken that are wanted when they begin."""
        self.leave()

        def begin(module: nn.Module, inputs: Any) -> None:
            self.with_graph = torch.is_grad_enabled()
            if self._anew:
                self.found = []
            self._current.set(self if module.training and wanted() else None)

        def end(module: nn.Module, inputs: Any, outputs: Any) -> None:
            self._current.set(None)

        self._handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]

    def leave(self) -> None:
        """End, and forget what has been taken."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.found = [], []
