"""How unevenly points are among the neighbours of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlpkit.embeddings import Embeddings
from nlpkit.tasks.similarity.retrieval.neighbours import Engine
from nlpkit.tasks.similarity.retrieval.points import Metric
from nlpkit.tasks.similarity.retrieval.rerankers import Reranker
from nlpkit.tasks.similarity.retrieval.retriever import Retriever


@dataclass(frozen=True)
class HubnessReport:
    """How often points are among the ``k`` nearest of a query.

    Attributes:
        k: neighbours of each query.
        occurrences: of each point among them, int64, shape ``(points,)``.
        skewness: third standardised moment of the occurrences; 0 where they are all the same.
        antihubs: share of the points that are nobody's neighbour.
        hubs: share of the points that are neighbours more than twice as often as the mean.
        gini: from 0, where all are as often, to almost 1, where one point is everybody's neighbour.
        robin_hood: share of all places that hubs would have to give away for all to be as often (Hoover's index).
    """

    k: int
    occurrences: np.ndarray
    skewness: float
    antihubs: float
    hubs: float
    gini: float
    robin_hood: float


def hubness(
    embeddings: Embeddings,
    k: int = 10,
    *,
    queries: Embeddings | None = None,
    metric: Metric = "cosine",
    reranker: Reranker | None = None,
    engine: Engine | None = None,
) -> HubnessReport:
    """Measure how unevenly points are among the neighbours of others.

    Source: Radovanović, Nanopoulos and Ivanović (JMLR 11, 2010); kexue.fm/archives/9147.

    Args:
        embeddings: shape ``(points, dimension)``.
        k: neighbours.
        queries: whose neighbours are counted, shape ``(queries, dimension)``; ``None`` counts those of each point,
            itself left out by its place, so that copies of a point count as any other.
        metric: see ``Metric``.
        reranker: whose neighbours are counted; those by the metric alone by default.
        engine: as for ``Retriever``.

    Returns:
        The report.

    Raises:
        ValueError: as of ``Retriever`` and its ``search``.

    Note:
        Skewness grows with the dimension that points really fill, and with their number; compare like with like. Of
        points with many copies the first ones are neighbours and the last ones antihubs, since ties go to the first.

    Example:
        >>> angles = torch.arange(12) * torch.pi / 6  # evenly on a circle: nobody is a hub
        >>> report = hubness(torch.stack([angles.cos(), angles.sin()], dim=1).double(), k=2)
        >>> set(report.occurrences.tolist()), report.skewness, report.gini
        ({2}, 0.0, 0.0)
    """
    retriever = Retriever(embeddings, reranker, references=queries, metric=metric, engine=engine)
    found = retriever.search(queries, k)
    return hubness_of(k_occurrences(found.places, len(embeddings)), k)


def k_occurrences(places: Tensor | np.ndarray, points: int) -> np.ndarray:
    """How often each point is a neighbour.

    Args:
        places: of the neighbours, shape ``(queries, k)``.
        points: of the index.

    Returns:
        int64, shape ``(points,)``; their sum is ``queries * k``.

    Raises:
        TypeError: places are no whole numbers.
        ValueError: one is no point's.

    Example:
        >>> k_occurrences(torch.tensor([[1], [0], [1]]), 4)
        array([1, 2, 0, 0])
    """
    found = torch.as_tensor(places).flatten()
    if found.is_floating_point() or found.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise TypeError(f"places are of {found.dtype}; give the whole numbers that a search finds")
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < points:
        raise ValueError(f"places go from {int(found.min())} to {int(found.max())}; give those of {points} points")
    return torch.bincount(found, minlength=points).cpu().numpy()


def hubness_of(occurrences: np.ndarray | Tensor | Sequence[int], k: int) -> HubnessReport:
    """The report of occurrences.

    Args:
        occurrences: whole numbers, not all 0, shape ``(points,)``.
        k: neighbours of each query.

    Returns:
        The report.

    Raises:
        TypeError: occurrences are no whole numbers.
        ValueError: nobody occurs, or a number of occurrences is negative.

    Example:
        >>> report = hubness_of(np.array([4, 0, 0, 0]), 1)
        >>> report.antihubs, report.hubs, report.gini, report.robin_hood
        (0.75, 0.25, 0.75, 0.75)
    """
    occurrences = np.asarray(occurrences)
    if occurrences.dtype.kind not in "iu":
        raise TypeError(f"occurrences are of {occurrences.dtype}; give how often each point occurs, as whole numbers")
    if (occurrences < 0).any():
        place = int((occurrences < 0).argmax())
        raise ValueError(f"occurrences[{place}]={occurrences[place]}: give how often each point occurs, 0 or more")
    total = int(occurrences.sum())
    if total == 0:
        raise ValueError("no point occurs: count the neighbours of at least one query")
    counts = occurrences.astype(np.float64)
    mean, deviation = counts.mean(), counts.std()
    ranks = np.arange(1, len(counts) + 1)
    return HubnessReport(
        k=k,
        occurrences=occurrences,
        skewness=float((((counts - mean) / deviation) ** 3).mean()) if deviation else 0.0,
        antihubs=float((occurrences == 0).mean()),
        hubs=float((counts > 2 * mean).mean()),
        gini=float((2 * ranks - len(counts) - 1) @ np.sort(counts) / (len(counts) * total)),
        robin_hood=float(np.abs(counts - mean).sum() / (2 * total)),
    )
