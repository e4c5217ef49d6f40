"""Spans and chains from the papers alone: every span by itself, every labelling by itself.

Sources: RoFormer (arXiv 2104.09864), kexue.fm/archives/8373 and 8877, ZLPR (arXiv 2208.02955), Lafferty et al. 2001.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product

Vector = Sequence[float]
Span = tuple[int, int, int]


def turned(vector: Vector, place: int) -> list[complex]:
    """A vector as complex numbers, each turned by an angle that grows with the place."""
    size = len(vector)
    return [
        complex(vector[2 * i], vector[2 * i + 1]) * cmath.exp(1j * place * 10000 ** (-2 * i / size))
        for i in range(size // 2)
    ]


def inner(first: Vector, at: int, second: Vector, there: int) -> float:
    """The inner product of two turned vectors."""
    return sum((a * b.conjugate()).real for a, b in zip(turned(first, at), turned(second, there), strict=True))


def spans(units: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Every pair of units, the first not behind the last."""
    for first, last in product(range(len(units)), repeat=2):
        if first <= last and units[first] and units[last]:
            yield first, last


def span_loss(scores: dict[Span, float], gold: set[Span], types: int) -> float:
    """The mean over types of ZLPR, of scores by (type, first, last)."""
    total = 0.0
    for kind in range(types):
        own = {span: score for span, score in scores.items() if span[0] == kind}
        absent = math.fsum(math.exp(score) for span, score in own.items() if span not in gold)
        present = math.fsum(math.exp(-score) for span, score in own.items() if span in gold)
        total += math.log1p(absent) + math.log1p(present)
    return total / types


def path_score(
    path: Sequence[int], emissions: Sequence[Vector], moves: Sequence[Vector], starts: Vector, ends: Vector
) -> float:
    """What a labelling goes through, added up."""
    if not path:
        return 0.0
    total = starts[path[0]] + ends[path[-1]] + sum(emissions[place][label] for place, label in enumerate(path))
    return total + sum(moves[before][after] for before, after in pairwise(path))


def chances(
    emissions: Sequence[Vector], moves: Sequence[Vector], starts: Vector, ends: Vector
) -> dict[tuple[int, ...], float]:
    """The probability of each labelling among all."""
    labels = range(len(starts))
    weights = {
        path: math.exp(path_score(path, emissions, moves, starts, ends))
        for path in product(labels, repeat=len(emissions))
    }
    total = math.fsum(weights.values())
    return {path: weight / total for path, weight in weights.items()}
