"""Looking up many keys at once in sorted ones."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Value = TypeVar("Value", bound=np.generic)


def find_keys(keys: NDArray[Number], wanted: NDArray[Number]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where keys stand, or would stand, in sorted ones, and whether they are there.

    Args:
        keys: rising, none twice.
        wanted: in any order.

    Returns:
        Two arrays of the shape of ``wanted``.

    Example:
        >>> places, held = find_keys(np.array([3, 5]), np.array([5, 4, 9]))
        >>> places.tolist(), held.tolist()
        ([1, 1, 2], [True, False, False])
    """
    places = np.searchsorted(keys, wanted)
    held = places < len(keys)
    held[held] = keys[places[held]] == wanted[held]
    return places, held


def values_of(
    keys: NDArray[Number], values: NDArray[Value], wanted: NDArray[Number], missing: object = 0
) -> NDArray[Value]:
    """The values of keys.

    Args:
        keys: rising, none twice.
        values: of each of them.
        wanted: in any order.
        missing: the value, or an array of the values, of those that are not there.

    Returns:
        An array of the shape of ``wanted``.

    Example:
        >>> values_of(np.array([3, 5]), np.array([30, 50]), np.array([5, 4])).tolist()
        [50, 0]
    """
    places, held = find_keys(keys, wanted)
    found = np.full(wanted.shape, missing, dtype=values.dtype)
    found[held] = values[places[held]]
    return found
