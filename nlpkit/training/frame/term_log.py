"""The terms of the loss between two logs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class TermLog:
    """Sums of terms by name, since the last log, and the step at which the first of them came.

    Example:
        >>> log = TermLog()
        >>> for step in (5, 6):
        ...     log.add("kl", torch.tensor(2.0), step)
        >>> log.take(7), log.take(7)
        ({'kl': 2.0}, {})
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._first_step = 0

    def add(self, name: str, term: Tensor, step: int) -> None:
        """Add a term of the step that follows ``step`` others."""
        if not self._sums:
            self._first_step = step
        self._sums[name] = self._sums[name] + term if name in self._sums else term

    def take(self, step: int, over_processes: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, float]:
        """Means over the steps taken since the first term came, and begin anew.

        Args:
            step: how many steps have been taken.
            over_processes: adds up a vector over processes.

        Returns:
            By name, in alphabetical order, so that all processes have the same.
        """
        if not self._sums:
            return {}
        names = sorted(self._sums)
        sums = over_processes(torch.stack([self._sums[name].double() for name in names]))
        means = sums / max(1, step - self._first_step)
        self._sums = {}
        return dict(zip(names, means.tolist(), strict=True))
