"""Nearest neighbours by faiss's flat indexes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nlpkit.extras import install_hint
from nlpkit.tasks.similarity.retrieval.neighbours import Neighbours, exact_search, top_k
from nlpkit.tasks.similarity.retrieval.points import Metric


def faiss_search(queries: Tensor, index: Tensor, k: int, metric: Metric, *, same: bool = False) -> Neighbours:
    """Find neighbours with faiss; what ``exact_search`` finds, up to the rounding of fp32.

    Args:
        queries: prepared, shape ``(queries, dimension)``.
        index: prepared, shape ``(points, dimension)``.
        k: not above the points.
        metric: see ``Metric``.
        same: queries are the index; none is its own neighbour.

    Returns:
        The neighbours; scores are of the queries' type, and computed in fp32. Queries that have equal scores on both
        sides of the last place are searched again by ``exact_search``, since faiss does not say which it takes.

    Raises:
        ModuleNotFoundError: faiss is not installed.
        ValueError: a number is too large for fp32.

    Note:
        It computes as many products as the exact search. How the two compare in time is in docs/similarity.md.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"faiss_search needs faiss; {install_hint('faiss')}", name="faiss") from error
    flat = (faiss.IndexFlatL2 if metric == "euclidean" else faiss.IndexFlatIP)(index.shape[1])
    # Of distances faiss takes products, too, in which the digits of points far from 0 would cancel.
    centre = index.double().mean(dim=0) if metric == "euclidean" else index.new_zeros(())
    flat.add(_plain(index - centre))
    wanted = min(k + same + 1, len(index))  # itself, and one more to see whether the edge is clear
    raw_scores, raw_places = flat.search(_plain(queries - centre), wanted)
    scores = torch.from_numpy(raw_scores).to(queries)
    places = torch.from_numpy(raw_places).to(queries.device)
    if metric == "euclidean":
        scores = -scores.clamp(min=0).sqrt()
    if same:
        own = places == torch.arange(len(queries), device=places.device)[:, None]
        scores = scores.masked_fill(own, -torch.inf)
    by_place = places.sort(dim=1)  # so that of equal scores the first in the index comes first
    best = top_k(scores.gather(1, by_place.indices), min(k + 1, wanted))
    found = Neighbours(best.scores, by_place.values.gather(1, best.places))
    if found.scores.shape[1] > k:
        unclear = (found.scores[:, k - 1] == found.scores[:, k]).nonzero().flatten()
        found = Neighbours(found.scores[:, :k].clone(), found.places[:, :k].clone())
        if len(unclear):
            again = _searched_again(queries, index, k, metric, unclear, same)
            found.scores[unclear], found.places[unclear] = again
    return found


def _searched_again(queries: Tensor, index: Tensor, k: int, metric: Metric, rows: Tensor, same: bool) -> Neighbours:
    """What ``exact_search`` finds for some of the queries."""
    found = exact_search(queries[rows], index, min(k + same, len(index)), metric)
    if not same:
        return found
    scores = found.scores.masked_fill(found.places == rows[:, None], -torch.inf)
    best = top_k(scores, k)
    return Neighbours(best.scores, found.places.gather(1, best.places))


def _plain(points: Tensor) -> np.ndarray:
    narrow = points.float()
    if not narrow.isfinite().all():
        raise ValueError("embeddings hold numbers too large for fp32, in which faiss computes: use exact_search")
    return np.ascontiguousarray(narrow.cpu().numpy())
