"""What is found in a text."""

from __future__ import annotations

from typing import NamedTuple

from nlpkit.labels.spans import Span


class Entity(NamedTuple):
    """A labelled range of characters with its probability.

    Args:
        start: first character.
        end: one past the last character.
        label: the type.
        score: probability in [0, 1], as the head gives it.

    Example:
        >>> Entity(1, 3, "LOC", 0.9).span
        Span(start=1, end=3, label='LOC')
    """

    start: int
    end: int
    label: str
    score: float

    @property
    def span(self) -> Span:
        """The same without its score, as gold spans are given."""
        return Span(self.start, self.end, self.label)
