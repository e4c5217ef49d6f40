"""Spans put back where they were taken from, and all ways to take them, by counting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations


def restore(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The row that a source and a target were made of."""
    spans: dict[int, list[int]] = {}
    for token in target:
        if token in sentinels:
            spans[token] = []
        else:
            spans[list(spans)[-1]].append(token)
    row: list[int] = []
    for token in source:
        row += spans[token] if token in sentinels else [token]
    return row


def placements(length: int, tokens: int, spans: int) -> Iterator[tuple[bool, ...]]:
    """All ways to choose so many tokens of a row that they make so many spans."""
    for chosen in combinations(range(length), tokens):
        if sum(place - 1 not in chosen for place in chosen) == spans:
            yield tuple(place in chosen for place in range(length))
