"""Neighbours against sorting all scores, whatever the blocks; ties, copies, itself, and what cannot be searched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nlpkit.tasks.similarity import faiss_search, nearest_neighbours
from nlpkit.tasks.similarity.retrieval import neighbours
from nlpkit.tasks.similarity.retrieval.neighbours import top_k
from tests.reference import retrieval as oracle

METRICS = ("dot", "euclidean", "cosine")


def small_numbers(rows: st.SearchStrategy[int], dimension: int) -> st.SearchStrategy[np.ndarray]:
    """Whole numbers, of which products and sums are exact, with copies and ties among them."""
    return rows.flatmap(
        lambda count: arrays.arrays(np.float64, (count, dimension), elements=st.integers(-2, 2).map(float))
    )


@pytest.fixture(params=[(2, 3), (1, 1), (1024, 8192)], ids=str)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", request.param[0])
    monkeypatch.setattr(neighbours, "COLUMNS", request.param[1])


@pytest.mark.usefixtures("blocks")
@settings(max_examples=25)
@given(index=small_numbers(st.integers(2, 9), 3), queries=small_numbers(st.integers(1, 5), 3), data=st.data())
def test_products_are_ranked_as_by_sorting(index: np.ndarray, queries: np.ndarray, data: st.DataObject) -> None:
    """Of equal scores the first point counts, however they are cut into blocks."""
    for asking, same in ((queries, False), (index, True)):
        k = data.draw(st.integers(1, len(index) - same))
        rows = oracle.all_scores(asking, index, "dot", same=same)
        found = nearest_neighbours(index, None if same else asking, k, metric="dot")
        assert found.places.tolist() == [oracle.best(row, k) for row in rows]
        assert found.scores.tolist() == oracle.near_scores(rows, k)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_the_definition(metric: str) -> None:
    index, queries = np.random.default_rng(0).normal(size=(2, 40, 4))
    for asking in (None, queries[:7]):
        rows = oracle.all_scores(index if asking is None else asking, index, metric, same=asking is None)
        found = nearest_neighbours(index, asking, 6, metric=metric)  # type: ignore[arg-type]
        assert found.places.tolist() == [oracle.best(row, 6) for row in rows]
        np.testing.assert_allclose(found.scores, oracle.near_scores(rows, 6), atol=1e-7)


def test_a_copy_is_a_neighbour_and_a_point_is_not_its_own() -> None:
    index = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert nearest_neighbours(index, k=2).places.tolist() == [[1, 3], [0, 3], [0, 1], [0, 1]]


@given(
    scores=arrays.arrays(np.float64, (3, 8), elements=st.sampled_from([-np.inf, -1.0, 0.0, 2.0])),
    k=st.integers(1, 8),
)
def test_the_first_of_equal_numbers_is_taken(scores: np.ndarray, k: int) -> None:
    assert top_k(torch.from_numpy(scores), k).places.tolist() == [oracle.best(row, k) for row in scores.tolist()]


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40)
@given(index=small_numbers(st.integers(2, 9), 3), data=st.data())
def test_faiss_finds_the_same(metric: str, index: np.ndarray, data: st.DataObject) -> None:
    """With ties on both sides of the edge, and points of which there are more copies than neighbours."""
    pytest.importorskip("faiss", reason="needs the extra 'faiss'")
    points = torch.from_numpy(index).float()
    if metric == "cosine":  # along one axis, where cosines are exact
        points = points[:, :1][points[:, 0] != 0] * torch.tensor([1.0, 0.0, 0.0])
    if len(points) < 2:
        return
    for queries in (None, points.flip(0)[:3]):
        k = data.draw(st.integers(1, len(points) - (queries is None)))
        exact = nearest_neighbours(points, queries, k, metric=metric)  # type: ignore[arg-type]
        found = nearest_neighbours(points, queries, k, metric=metric, engine=faiss_search)  # type: ignore[arg-type]
        if metric != "euclidean":  # whose roots are not exact
            assert found.places.tolist() == exact.places.tolist()
        torch.testing.assert_close(found.scores, exact.scores, atol=2e-3, rtol=0)


@pytest.mark.parametrize("metric", METRICS)
def test_faiss_finds_the_same_among_many(metric: str) -> None:
    pytest.importorskip("faiss", reason="needs the extra 'faiss'")
    points = torch.randn(700, 24, generator=torch.Generator().manual_seed(1))
    for queries in (None, points[:50] + 0.1):
        exact = nearest_neighbours(points, queries, metric=metric)  # type: ignore[arg-type]
        found = nearest_neighbours(points, queries, metric=metric, engine=faiss_search)  # type: ignore[arg-type]
        assert found.places.tolist() == exact.places.tolist()
        torch.testing.assert_close(found.scores, exact.scores, atol=1e-4, rtol=1e-5)


def test_what_cannot_be_searched_is_named() -> None:
    points = torch.eye(3)
    with pytest.raises(ValueError, match=r"k=3: a query has 2 points that can be neighbours; give 1 to 2"):
        nearest_neighbours(points, k=3)
    with pytest.raises(ValueError, match=r"k=0: a query has 3 points"):
        nearest_neighbours(points, points, k=0)
    with pytest.raises(ValueError, match=r"index: row 1 holds NaN or infinity"):
        nearest_neighbours(torch.tensor([[0.0], [torch.inf], [1.0]]), k=1)
    with pytest.raises(ValueError, match=r"queries has 2 dimensions and the others have 3"):
        nearest_neighbours(points, torch.eye(2), k=1)
    with pytest.raises(ValueError, match=r"index holds no points"):
        nearest_neighbours(torch.empty(0, 3), k=1)
    with pytest.raises(ValueError, match=r"index of shape \(3,\): embeddings are \(points, dimension\)"):
        nearest_neighbours(torch.ones(3), k=1)
    with pytest.raises(ValueError, match=r"row 0 is zero and has no cosine"):
        nearest_neighbours(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), k=1)
    with pytest.raises(ValueError, match=r"metric 'cos' is none of cosine, dot, euclidean"):
        nearest_neighbours(points, k=1, metric="cos")  # type: ignore[arg-type]
