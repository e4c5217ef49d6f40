"""Sentences that are handled in parts because the model takes no more at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nlpkit.perturbed_masking.impact.measurement import Impact
from nlpkit.perturbed_masking.impact.units import Units


def measure_in_parts(
    sentences: Iterable[Sequence[Units]], measure: Callable[[Iterable[Units]], Iterator[Impact]]
) -> Iterator[Impact]:
    """Measure a stream of sentences part by part.

    Args:
        sentences: the parts of each, at least one.
        measure: a stream of parts to a stream of their matrices, each ``(measures, n, n)``; it may read ahead.

    Yields:
        For each sentence, in order, its matrices; parts have no influence on each other: 0.

    Example:
        >>> part = Units(("a",), (2, 5, 3), (-1, 0, -1))
        >>> ones = lambda parts: (np.ones((1, 1, 1), np.float32) for _ in parts)
        >>> [matrices.tolist() for matrices in measure_in_parts([[part], [part, part]], ones)]
        [[[[1.0]]], [[[1.0, 0.0], [0.0, 1.0]]]]
    """
    counts: deque[int] = deque()

    def every_part() -> Iterator[Units]:
        for parts in sentences:
            counts.append(len(parts))
            yield from parts

    found: list[Impact] = []
    for matrices in measure(every_part()):
        found.append(matrices)
        if len(found) == counts[0]:
            counts.popleft()
            yield found[0] if len(found) == 1 else _on_the_diagonal(found)
            found = []


def _on_the_diagonal(parts: Sequence[Impact]) -> Impact:
    size = sum(part.shape[1] for part in parts)
    whole = np.zeros((len(parts[0]), size, size), np.float32)
    start = 0
    for part in parts:
        end = start + part.shape[1]
        whole[:, start:end, start:end] = part
        start = end
    return whole
