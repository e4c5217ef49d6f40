"""Duplicates between two lists of texts, by comparing every pair."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def look_alike(first: str, second: str) -> bool:
    """Whether two texts differ in white space, width and case only."""

    def plain(text: str) -> list[str]:
        return [character for character in unicodedata.normalize("NFKC", text).casefold() if not character.isspace()]

    return plain(first) == plain(second)


def count_twins(part: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """How many texts of a part also stand in the other: as they are, and but for spaces, width and case."""
    raw = sum(any(text == there for there in other) for text in part)
    alike = sum(any(look_alike(text, there) for there in other) for text in part)
    return raw, alike


def count_repetitions(part: Sequence[str]) -> tuple[int, int]:
    """How many texts stand earlier in the same part, likewise."""
    raw = sum(any(part[place] == before for before in part[:place]) for place in range(len(part)))
    alike = sum(any(look_alike(part[place], before) for before in part[:place]) for place in range(len(part)))
    return raw, alike
