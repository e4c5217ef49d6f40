"""Which field of a cloze gives way when the text is too long."""

from __future__ import annotations

from collections.abc import Mapping


def cut_longest(lengths: Mapping[int, int], budget: int) -> dict[int, int]:
    """How many tokens each field keeps when the longest fields are cut first.

    Args:
        lengths: tokens of each field.
        budget: tokens that all fields together may keep, not negative.

    Returns:
        Tokens that each field keeps; fields shorter than the cut keep all, and earlier fields get the odd tokens.

    Example:
        >>> cut_longest({0: 10, 1: 3, 2: 9}, 14)
        {0: 6, 1: 3, 2: 5}
    """
    level, left = 0, budget
    while (growing := [number for number, length in lengths.items() if length > level]) and len(growing) <= left:
        level, left = level + 1, left - len(growing)
    odd = set(sorted(growing)[:left])
    return {number: min(length, level + (number in odd)) for number, length in lengths.items()}
