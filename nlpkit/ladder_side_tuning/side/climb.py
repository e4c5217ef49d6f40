"""The state of a forward pass through a stack, which its rungs and its landing share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class TapsGathered(Exception):  # noqa: N818 - not an error
    """All taps have been gathered; what follows in the model need not run."""


class Climb:
    """The state of one forward pass through a stack.

    Attributes:
        state: of the side network, shape ``(batch, length, width)``.
        carried: what the last side block returned for the next one.
        lowered: arguments of the blocks that the side network gets projected to its width.
        source: the encoder's states for the frozen blocks, and for the side blocks.
        given: taps by layer, in place of running the frozen blocks.
        wanted: layers to gather taps of, in place of running the side network.
        gathered: those taps.
        keeps_last: whether to keep the backbone's own last states.
        last: those states, shape ``(batch, length, backbone's width)``.
    """

    state: Tensor
    source: tuple[Tensor, Tensor] | None = None
    given: Mapping[int, Tensor] | None = None
    wanted: frozenset[int] | None = None
    keeps_last: bool = False
    last: Tensor | None = None

    def __init__(self) -> None:
        self.carried: dict[str, Any] = {}
        self.lowered: dict[str, Tensor] = {}
        self.gathered: dict[int, Tensor] = {}

    def finish(self) -> Tensor:
        """Return the last state of the side network, and keep nothing of the pass.

        Returns:
            Shape ``(batch, length, width)``.
        """
        state = self.state
        del self.state
        self.forget()
        return state

    def forget(self) -> None:
        """Keep nothing of a pass without a side network."""
        self.carried, self.lowered, self.source = {}, {}, None


class Climbs:
    """The climb of each thread, so that threads may share a model.

    ``torch.compile`` cannot trace what belongs to threads, so a model that was compiled has one climb for all of them:
    let one thread at a time run it.
    """

    def __init__(self) -> None:
        self._of_threads = threading.local()
        self._traced, self._is_traced = Climb(), False

    @property
    def current(self) -> Climb:
        """Of this thread."""
        if torch.compiler.is_compiling():
            self._is_traced = True  # parts of the pass that are not compiled must find the same
        if self._is_traced:
            return self._traced
        found: Climb | None = getattr(self._of_threads, "climb", None)
        if found is None:
            found = self._of_threads.climb = Climb()
        return found

    def __reduce__(self) -> tuple[type[Climbs], tuple[()]]:
        # A copy is between two passes.
        return Climbs, ()
