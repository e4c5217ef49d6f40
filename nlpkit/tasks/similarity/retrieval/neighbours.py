"""Nearest neighbours, exactly: block by block, so that memory does not grow with the product of both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import Embeddings, as_points
from nlpkit.tasks.similarity.retrieval.points import Metric, moved_to, prepared, similarities

#: Queries and points whose scores are held at a time: 32 MiB in fp32, and a few times that while they are ranked.
ROWS, COLUMNS = 1024, 8192


class Neighbours(NamedTuple):
    """The nearest points of each query, the nearest first; where scores are equal, the first in the index.

    Attributes:
        scores: the larger, the nearer, shape ``(queries, k)``.
        places: in the index, int64, the same shape.
    """

    scores: Tensor
    places: Tensor


class Engine(Protocol):
    """What finds nearest neighbours among prepared points: ``exact_search`` or ``faiss_search``."""

    def __call__(self, queries: Tensor, index: Tensor, k: int, metric: Metric, *, same: bool) -> Neighbours:
        """Search; ``same`` says that queries are the index, and none is its own neighbour."""
        ...


def nearest_neighbours(
    index: Embeddings,
    queries: Embeddings | None = None,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    engine: Engine | None = None,
) -> Neighbours:
    """The nearest points of an index.

    Args:
        index: shape ``(points, dimension)``.
        queries: shape ``(queries, dimension)``; ``None`` asks for the neighbours of each point of the index, itself
            left out by its place, so that another point of the same embedding is a neighbour as any other.
        k: how many.
        metric: see ``Metric``.
        engine: ``exact_search`` by default; ``faiss_search`` where faiss is installed.

    Returns:
        Scores and places, on the index's device.

    Raises:
        TypeError: ``k`` is no whole number, or embeddings hold no real numbers.
        ValueError: ``k`` is below 1 or above what there is; embeddings are empty, of another dimension, or not finite.

    Note:
        Takes ``queries x points x dimension`` products, and memory for a block of scores (``ROWS x COLUMNS``).

    Example:
        >>> index = torch.tensor([[0.0], [1.0], [1.0], [4.0]])
        >>> nearest_neighbours(index, k=2, metric="euclidean").places
        tensor([[1, 2], [2, 0], [1, 0], [1, 2]])
    """
    points = as_points(index, "index")
    if queries is None:
        (points,) = prepared(metric, points)
        asking = points
    else:
        asking = moved_to(as_points(queries, "queries", points.shape[1]), points, "queries")
        points, asking = prepared(metric, points, asking)
    check_k(k, len(points) - (queries is None))
    return (engine or exact_search)(asking, points, k, metric, same=queries is None)


def check_k(k: int, available: int, name: str = "k") -> None:
    """See that so many neighbours exist.

    Args:
        k: how many.
        available: how many there are.
        name: of the argument, for errors.

    Raises:
        TypeError: it is no whole number.
        ValueError: they do not.
    """
    checked_number(name, k, whole=True)
    if available < 1:
        raise ValueError(f"{name}={k}: no point has another one that can be its neighbour; give two or more")
    if not 1 <= k <= available:
        raise ValueError(f"{name}={k}: a query has {available} points that can be neighbours; give 1 to {available}")


def exact_search(queries: Tensor, index: Tensor, k: int, metric: Metric, *, same: bool = False) -> Neighbours:
    """Find neighbours by all scores.

    Args:
        queries: prepared, shape ``(queries, dimension)``.
        index: prepared, shape ``(points, dimension)``.
        k: not above the points.
        metric: see ``Metric``.
        same: queries are the index; none is its own neighbour.

    Returns:
        The neighbours.
    """
    return ranked(score_blocks(queries, index, metric, same=same), k)


Rows = slice
Blocks = Iterator[tuple[Rows, Iterable[tuple[slice, Tensor]]]]


def score_blocks(queries: Tensor, index: Tensor, metric: Metric, *, same: bool = False) -> Blocks:
    """All scores of prepared points, block by block.

    Args:
        queries: prepared, shape ``(queries, dimension)``.
        index: prepared, shape ``(points, dimension)``.
        metric: see ``Metric``.
        same: queries are the index; the score of a point with itself is minus infinity.

    Yields:
        For some queries, their slice, and an iterable over slices of the index with the scores. It has to be gone
        through before the next queries are asked for.
    """

    def columns_of(rows: slice) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, len(index), COLUMNS):
            columns = slice(start, min(start + COLUMNS, len(index)))
            scores = similarities(queries[rows], index[columns], metric)
            if same:
                first = max(rows.start, columns.start)
                own = torch.arange(first, max(first, min(rows.stop, columns.stop)), device=scores.device)
                scores[own - rows.start, own - columns.start] = -torch.inf
            yield columns, scores

    starts = range(0, len(queries), ROWS)
    for start in tqdm(starts, desc="comparing", unit="block", delay=5, leave=False, disable=None):
        rows = slice(start, min(start + ROWS, len(queries)))
        yield rows, columns_of(rows)


def ranked(blocks: Blocks, k: int, rescore: Callable[[Tensor, slice, slice], Tensor] | None = None) -> Neighbours:
    """The best of blocks of scores.

    Args:
        blocks: of ``score_blocks``.
        k: how many of each query.
        rescore: makes other scores of a block, given its slices.

    Returns:
        The neighbours.
    """
    found = []
    for rows, parts in blocks:
        best: Neighbours | None = None
        for columns, scores in parts:
            if rescore is not None:
                own = scores == -torch.inf
                scores = rescore(scores, rows, columns).masked_fill(own, -torch.inf)
            part = top_k(scores, min(k, scores.shape[1]))
            part = Neighbours(part.scores, part.places + columns.start)
            best = part if best is None else _merged(best, part, k)
        assert best is not None
        found.append(best)
    return Neighbours(torch.cat([one.scores for one in found]), torch.cat([one.places for one in found]))


def _merged(best: Neighbours, more: Neighbours, k: int) -> Neighbours:
    """The best of both; places of ``best`` are all lower, and stand first."""
    scores, places = (torch.cat(pair, dim=1) for pair in zip(best, more, strict=True))
    found = top_k(scores, min(k, scores.shape[1]))
    return Neighbours(found.scores, places.gather(1, found.places))


def top_k(scores: Tensor, k: int) -> Neighbours:
    """The largest numbers of each row, and of equal ones the first, which ``torch.topk`` does not promise.

    Args:
        scores: shape ``(rows, columns)``.
        k: not above the columns.

    Returns:
        Shape ``(rows, k)``, in falling order.

    Example:
        >>> top_k(torch.tensor([[1.0, 2.0, 2.0, 2.0]]), 2).places
        tensor([[1, 2]])
    """
    values, places = scores.topk(k, dim=1)
    crowded = (scores >= values[:, -1:]).sum(dim=1) > k  # equal ones on both sides of the edge
    if crowded.any():
        full = scores[crowded].sort(dim=1, descending=True, stable=True)
        values[crowded], places[crowded] = full.values[:, :k], full.indices[:, :k]
    places, order = places.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return Neighbours(values, places.gather(1, order))
