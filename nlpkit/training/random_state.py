"""Where random numbers stand, so that a further pass can draw the same dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RandomState:
    """The random numbers of this process, on its CPU and its GPUs, as they stand when this is made.

    Example:
        >>> state = RandomState()
        >>> first = torch.rand(2)
        >>> state.again()
        >>> bool((torch.rand(2) == first).all())
        True
    """

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def again(self) -> None:
        """Draw from here on what was drawn from there on."""
        torch.set_rng_state(self._cpu)
        if self._gpus:
            torch.cuda.set_rng_state_all(self._gpus)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Within, draw what was drawn from there on; afterwards go on as if nothing had been drawn."""
        now = RandomState()
        self.again()
        try:
            yield
        finally:
            now.again()
