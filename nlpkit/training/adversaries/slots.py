"""Places for hooks, which compiled models see as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

#: Called with a module, its arguments and its output; may return another output.
Ran = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


class Slots:
    """Places for hooks before and after modules run, which are there while they are filled.

    Args:
        before: modules.
        after: modules, each once.

    Note:
        A model that has been compiled does not see a hook that comes after its first pass. ``keep`` leaves the places
        there in between; a compiled graph is broken at each of them.
    """

    def __init__(self, before: Sequence[nn.Module], after: Sequence[nn.Module]) -> None:
        self._before, self._after = before, after
        self._handles: list[RemovableHandle] = []
        self._begins: Callable[[], None] | None = None
        self._ran: Ran | None = None

    def keep(self) -> None:
        """Leave the places in a model that will be compiled, until they are removed."""
        self.remove()
        self._place(torch.compiler.disable(self._tell_begin), torch.compiler.disable(self._tell_ran))

    def remove(self) -> None:
        """Leave nothing in the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @contextmanager
    def filled(self, begins: Callable[[], None], ran: Ran) -> Iterator[None]:
        """Within, these are called."""
        kept = bool(self._handles)
        if not kept:
            self._place(self._tell_begin, self._tell_ran)
        self._begins, self._ran = begins, ran
        try:
            yield
        finally:
            self._begins = self._ran = None
            if not kept:
                self.remove()

    def _place(self, begin: Callable[..., None], ran: Callable[..., Any]) -> None:
        self._handles = [module.register_forward_pre_hook(begin) for module in self._before]
        self._handles += [module.register_forward_hook(ran, with_kwargs=True) for module in self._after]

    def _tell_begin(self, *_: Any) -> None:
        if self._begins is not None:
            self._begins()

    def _tell_ran(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        return None if self._ran is None else self._ran(module, inputs, named, output)
