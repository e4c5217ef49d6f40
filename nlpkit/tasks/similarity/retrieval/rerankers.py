"""Scores that make up for hubs: points that are near to very many others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.tasks.similarity.retrieval.neighbours import Engine, check_k, score_blocks
from nlpkit.tasks.similarity.retrieval.points import Metric, distances


class Reranker(ABC):
    """Makes of a score of two points another one, by how near each of them is to other points.

    Scores of all of them are the larger, the nearer. A subclass says what has to be known of a point beforehand
    (``statistics``), so that a block of scores can be changed without the others (``rescore``).
    """

    #: Whether ``rescore`` reads statistics of the queries, which take a pass over the index.
    of_queries = True

    @abstractmethod
    def statistics(
        self, points: Tensor, references: Tensor, metric: Metric, engine: Engine, *, same: bool
    ) -> tuple[Tensor, ...]:
        """What has to be known of points.

        Args:
            points: prepared, shape ``(points, dimension)``.
            references: prepared; the points that they are compared with, shape ``(references, dimension)``.
            metric: of both.
            engine: finds neighbours.
            same: points are the references, and none is compared with itself.

        Returns:
            Some numbers of each point, each of shape ``(points,)``.
        """

    @abstractmethod
    def rescore(
        self, scores: Tensor, of_queries: tuple[Tensor, ...], of_points: tuple[Tensor, ...], metric: Metric
    ) -> Tensor:
        """Change scores.

        Args:
            scores: of ``similarities``.
            of_queries: statistics of the queries, in shapes that go with the scores'.
            of_points: those of the index's points, likewise.
            metric: of the scores.

        Returns:
            The same shape.
        """


@dataclass(frozen=True)
class CSLS(Reranker):
    """Cross-domain similarity local scaling: twice the score, less both points' mean score with their neighbours.

    Source: Conneau et al. (arXiv 1710.04087), section 2.3.

    Args:
        k: neighbours.

    Note:
        The mean of a query is one number for all points, so that its ranking depends on the index's alone; scores of
        different queries are comparable because of it.

    Example:
        >>> CSLS(k=2).rescore(torch.tensor(0.9), (torch.tensor(0.8),), (torch.tensor(0.5),), "cosine")
        tensor(0.5000)
    """

    k: int = 10

    def __post_init__(self) -> None:
        checked_number("k", self.k, least=1, whole=True)

    def statistics(
        self, points: Tensor, references: Tensor, metric: Metric, engine: Engine, *, same: bool
    ) -> tuple[Tensor, ...]:
        """The mean score with the nearest references."""
        check_k(self.k, len(references) - same, "the k of CSLS, k")
        return (engine(points, references, self.k, metric, same=same).scores.mean(dim=1),)

    def rescore(
        self, scores: Tensor, of_queries: tuple[Tensor, ...], of_points: tuple[Tensor, ...], metric: Metric
    ) -> Tensor:
        """``2 s - r(query) - r(point)``."""
        return 2 * scores - of_queries[0] - of_points[0]


@dataclass(frozen=True)
class LocalScaling(Reranker):
    """Distances in units of how far the neighbours of both points are.

    Source: Zelnik-Manor and Perona (NIPS 2004): ``exp(-d² / (s(x) s(y)))`` with ``s`` the distance to the ``k``-th
    neighbour. ``mean=True`` is NICDM of Schnitzer et al. (JMLR 13, 2012): ``d / sqrt(m(x) m(y))`` with ``m`` the mean
    distance to ``k`` neighbours. Scores are ``-d² / (s s)`` of either, which ranks alike and does not vanish.

    Args:
        k: neighbours.
        mean: the mean of their distances instead of the last one's.

    Note:
        Of a point with ``k`` copies of itself the unit is 0; a millionth of the mean unit takes its place.
    """

    k: int = 10
    mean: bool = False

    def __post_init__(self) -> None:
        checked_number("k", self.k, least=1, whole=True)

    def statistics(
        self, points: Tensor, references: Tensor, metric: Metric, engine: Engine, *, same: bool
    ) -> tuple[Tensor, ...]:
        """The unit of each point."""
        check_k(self.k, len(references) - same, "the k of LocalScaling, k")
        near = distances(engine(points, references, self.k, metric, same=same).scores, metric, "LocalScaling")
        unit = near.mean(dim=1) if self.mean else near[:, -1]
        least = max(1e-6 * unit.mean().item(), torch.finfo(unit.dtype).tiny)
        return (unit.clamp(min=least),)

    def rescore(
        self, scores: Tensor, of_queries: tuple[Tensor, ...], of_points: tuple[Tensor, ...], metric: Metric
    ) -> Tensor:
        """``-(d / s(query)) (d / s(point))``."""
        distance = distances(scores, metric, "LocalScaling")
        return -(distance / of_queries[0]) * (distance / of_points[0])


@dataclass(frozen=True)
class MutualProximity(Reranker):
    """How unlikely it is for either point to have another one as near: the logarithm of the product of both.

    Source: Schnitzer et al. (JMLR 13, 2012), with a normal distribution of each point's distances, both independent.

    Note:
        Goes through all scores for the statistics, whatever the engine, and takes two logarithms of the normal
        distribution for each score: several times the time of the others.
    """

    def statistics(
        self, points: Tensor, references: Tensor, metric: Metric, engine: Engine, *, same: bool
    ) -> tuple[Tensor, ...]:
        """Mean and deviation of each point's scores."""
        check_k(2, len(references) - same, "MutualProximity needs k")
        blocks = score_blocks(points, references, metric, same=same)
        found = [_moments(scores for _, scores in columns) for _, columns in blocks]
        mean, deviation = (torch.cat(one).to(points) for one in zip(*found, strict=True))
        least = max(1e-6 * deviation.mean().item(), torch.finfo(points.dtype).tiny)
        return mean, deviation.clamp(min=least)

    def rescore(
        self, scores: Tensor, of_queries: tuple[Tensor, ...], of_points: tuple[Tensor, ...], metric: Metric
    ) -> Tensor:
        """``log P(another is less near to the query) + log P(another is less near to the point)``."""
        both = [torch.special.log_ndtr((scores - mean) / deviation) for mean, deviation in (of_queries, of_points)]
        return both[0] + both[1]


@dataclass(frozen=True)
class InvertedSoftmax(Reranker):
    """How likely a point is to ask for the query, rather than for another one: a softmax over queries.

    Source: Smith et al. (arXiv 1702.03859), section 2.3. Scores are logarithms of the probabilities.

    Args:
        temperature: divides scores.

    Raises:
        TypeError: the temperature is no number.
        ValueError: it is below 1e-6 or not finite.
    """

    temperature: float = 0.1
    of_queries = False

    def __post_init__(self) -> None:
        checked_number("temperature", self.temperature, least=1e-6, hint="scores are divided by it")

    def statistics(
        self, points: Tensor, references: Tensor, metric: Metric, engine: Engine, *, same: bool
    ) -> tuple[Tensor, ...]:
        """The logarithm of the softmax's denominator."""
        if len(references) - same < 1:
            raise ValueError("InvertedSoftmax has no other point to compare the only one with: give references")
        found = []
        for _, blocks in score_blocks(points, references, metric, same=same):
            parts = [torch.logsumexp(scores / self.temperature, dim=1) for _, scores in blocks]
            found.append(torch.stack(parts).logsumexp(dim=0))
        return (torch.cat(found),)

    def rescore(
        self, scores: Tensor, of_queries: tuple[Tensor, ...], of_points: tuple[Tensor, ...], metric: Metric
    ) -> Tensor:
        """``s / temperature - log sum exp(s' / temperature)``."""
        return scores / self.temperature - of_points[0]


def _moments(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each row over blocks of its numbers, those of minus infinity left out; fp64."""
    count = mean = squares = torch.zeros((), dtype=torch.float64)
    for scores in blocks:
        counted = scores > -torch.inf
        more = counted.sum(dim=1)
        centre = scores.where(counted, 0).sum(dim=1) / more.clamp(min=1)
        scatter = (scores - centre[:, None]).where(counted, 0).square().sum(dim=1)
        # Chan, Golub and LeVeque (1983): the moments of two parts make those of both.
        total, gap = count + more, centre.double() - mean
        squares = squares + scatter + gap**2 * count * more / total.clamp(min=1)
        mean = mean + gap * more / total.clamp(min=1)
        count = total
    return mean, (squares / count).sqrt()
