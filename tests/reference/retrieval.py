"""Neighbours, hubness and scores that make up for hubs, a pair at a time, from their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

Points = np.ndarray


def score(one: Points, other: Points, metric: str) -> float:
    """The larger, the nearer."""
    product = math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    if metric == "dot":
        return product
    if metric == "euclidean":
        return -math.sqrt(math.fsum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True)))
    return product / math.sqrt(math.fsum(float(a) ** 2 for a in one) * math.fsum(float(b) ** 2 for b in other))


def all_scores(queries: Points, index: Points, metric: str, *, same: bool) -> list[list[float]]:
    """Scores of every query with every point; a point with itself has minus infinity."""
    return [
        [-math.inf if same and q == p else score(query, point, metric) for p, point in enumerate(index)]
        for q, query in enumerate(queries)
    ]


def best(scores: Sequence[float], k: int) -> list[int]:
    """Places of the largest, of equal ones the first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:k]


def near_scores(rows: list[list[float]], k: int) -> list[list[float]]:
    """The largest scores of each row."""
    return [[row[place] for place in best(row, k)] for row in rows]


def occurrences(rows: list[list[float]], k: int) -> list[int]:
    """How often each point is among the best of a query."""
    counts = [0] * len(rows[0])
    for row in rows:
        for place in best(row, k):
            counts[place] += 1
    return counts


def skewness(counts: Sequence[int]) -> float:
    """Third standardised moment."""
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    third = sum((count - mean) ** 3 for count in counts) / len(counts)
    return third / variance**1.5 if variance else 0.0


def gini(counts: Sequence[int]) -> float:
    """Mean difference of two of them, over twice the mean."""
    differences = sum(abs(one - other) for one in counts for other in counts)
    return differences / (2 * len(counts) * sum(counts))


def robin_hood(counts: Sequence[int]) -> float:
    """What those above the mean have above it, as a share of all."""
    mean = sum(counts) / len(counts)
    return sum(count - mean for count in counts if count > mean) / sum(counts)


def csls(scores: list[list[float]], to_index: list[list[float]], to_references: list[list[float]], k: int) -> Points:
    """Twice the score, less the mean of both points' best."""
    of_queries = [sum(row) / k for row in near_scores(to_index, k)]
    of_points = [sum(row) / k for row in near_scores(to_references, k)]
    return np.array(
        [[2 * one - of_queries[q] - of_points[p] for p, one in enumerate(row)] for q, row in enumerate(scores)]
    )


def scaled(
    scores: list[list[float]],
    to_index: list[list[float]],
    to_references: list[list[float]],
    k: int,
    metric: str,
    mean: bool,
) -> Points:
    """``-d² / (unit of the query * unit of the point)``."""

    def distance(one: float) -> float:
        return -one if metric == "euclidean" else 1 - one

    def unit(row: list[float]) -> float:
        near = [distance(one) for one in row]
        return sum(near) / k if mean else near[-1]

    of_queries = [unit(row) for row in near_scores(to_index, k)]
    of_points = [unit(row) for row in near_scores(to_references, k)]
    return np.array(
        [
            [-(distance(one) ** 2) / (of_queries[q] * of_points[p]) for p, one in enumerate(row)]
            for q, row in enumerate(scores)
        ]
    )


def mutual(scores: list[list[float]], to_index: list[list[float]], to_references: list[list[float]]) -> Points:
    """Logarithm of the product of both chances to be less near, distances being normal."""

    def fitted(row: list[float]) -> NormalDist:
        finite = [one for one in row if one > -math.inf]
        mean = sum(finite) / len(finite)
        return NormalDist(mean, math.sqrt(sum((one - mean) ** 2 for one in finite) / len(finite)))

    of_queries, of_points = [fitted(row) for row in to_index], [fitted(row) for row in to_references]
    return np.array(
        [
            [math.log(of_queries[q].cdf(one) * of_points[p].cdf(one)) for p, one in enumerate(row)]
            for q, row in enumerate(scores)
        ]
    )


def inverted(scores: list[list[float]], to_references: list[list[float]], temperature: float) -> Points:
    """Logarithm of a softmax over those who ask."""
    sums = [math.fsum(math.exp(one / temperature) for one in row) for row in to_references]
    return np.array([[one / temperature - math.log(sums[p]) for p, one in enumerate(row)] for row in scores])
