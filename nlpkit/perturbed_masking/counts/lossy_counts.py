"""Counts of the items of a stream in bounded memory, with bounds on what was forgotten."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.counts.sorted_keys import find_keys, values_of

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)

#: What is left of the limit when items are dropped, so that not every call has to drop some.
_KEPT = 0.75


class LossyCounts:
    """How often each item of a stream occurred: exact until the limit is reached, then within bounds that it tells.

    When there are more items than ``most``, the rarest are dropped, and ``floor`` rises to the count of the most
    frequent one among them. For every item, always:

    - held: ``count <= true count <= count + missed``, and ``missed`` is 0 if it was held from its first occurrence on;
    - not held: ``true count <= floor``.

    So every item that occurs more than ``floor`` times is held, and as long as the limit is not reached
    (``floor == 0``) all counts are exact.

    Source: lossy counting (Manku and Motwani, 2002), with the limit on the number of items rather than on the error.

    Args:
        most: items to hold; ``None``: all.

    Attributes:
        keys: the items held, rising.
        counts: of each, what was counted while it was held.
        missed: of each, the most that was forgotten before.
        floor: the most that anything not held can have occurred.

    Raises:
        ValueError: ``most`` is below 1.

    Note:
        24 bytes per item, and about 10 more while counts are added.

    Example:
        >>> counts = LossyCounts(most=2)
        >>> counts.add(np.array([3, 7], dtype=np.uint64), np.array([5, 1]))
        >>> counts.add(np.array([7, 9], dtype=np.uint64), np.array([2, 1]))
        >>> counts.look_up(np.array([3, 7, 9], dtype=np.uint64)).tolist(), counts.floor
        ([5, 0, 0], 3)
    """

    def __init__(self, most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"most is {most}; give the number of items to hold, 1 or more")
        self.most, self.floor = most, 0
        self.keys: Keys = np.zeros(0, dtype=np.uint64)
        self.counts: Numbers = np.zeros(0, dtype=np.int64)
        self.missed: Numbers = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Keys, counts: Numbers) -> None:
        """Add the counts of another part of the stream.

        Args:
            keys: items, rising, none twice.
            counts: of each.
        """
        places, held = find_keys(self.keys, keys)
        self.counts[places[held]] += counts[held]
        places, new = places[~held], ~held
        if len(places):
            where = places + np.arange(len(places))
            old = np.ones(len(self.keys) + len(where), dtype=bool)
            old[where] = False
            self.keys = _spliced(self.keys, keys[new], old)
            self.counts = _spliced(self.counts, counts[new], old)
            self.missed = _spliced(self.missed, np.full(len(where), self.floor), old)
        if self.most is not None and len(self) > self.most:
            self._drop_rarest(max(int(self.most * _KEPT), 1))

    def look_up(self, keys: Keys) -> Numbers:
        """The counts of items; 0 for those that are not held.

        Args:
            keys: items in any order.

        Returns:
            Shape of ``keys``.
        """
        return values_of(self.keys, self.counts, keys)

    def bounds(self, keys: Keys) -> tuple[Numbers, Numbers]:
        """The least and the most that items can have occurred.

        Args:
            keys: items in any order.

        Returns:
            Two arrays of the shape of ``keys``; equal where the count is exact.

        Example:
            >>> counts = LossyCounts(most=1)
            >>> counts.add(np.array([3, 7], dtype=np.uint64), np.array([5, 2]))
            >>> [bound.tolist() for bound in counts.bounds(np.array([3, 7], dtype=np.uint64))]
            [[5, 0], [5, 2]]
        """
        least = self.look_up(keys)
        return least, least + values_of(self.keys, self.missed, keys, missing=self.floor)

    def _drop_rarest(self, kept: int) -> None:
        most = self.counts + self.missed
        self.floor = max(self.floor, int(np.partition(most, len(most) - kept - 1)[len(most) - kept - 1]))
        stays = most > self.floor
        self.keys, self.counts, self.missed = self.keys[stays], self.counts[stays], self.missed[stays]


def _spliced(held: NDArray[Value], new: NDArray[Value], old: NDArray[np.bool_]) -> NDArray[Value]:
    """Held values and new ones in the order of the keys."""
    both = np.empty(len(old), dtype=held.dtype)
    both[old], both[~old] = held, new
    return both
