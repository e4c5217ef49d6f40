"""Neighbours against sorting all scores, whatever the blocks; ties, copies, itself, and what cannot be searched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nlpkit.tasks.similarity import Retriever, faiss_search, nearest_neighbours
from nlpkit.tasks.similarity.retrieval import neighbours
from nlpkit.tasks.similarity.retrieval import points as points_room
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


@pytest.mark.parametrize(
    ("size", "dtype"),
    [*((size, torch.float32) for size in (1e-13, 1e-25, 1e25, 3e38)), (1e-300, torch.float64), (1e300, torch.float64)],
)
def test_cosines_do_not_depend_on_the_size_of_points(size: float, dtype: torch.dtype) -> None:
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.9]], dtype=dtype)
    found = nearest_neighbours(directions * size, k=2)
    assert found.places.tolist() == [[2, 1], [2, 0], [0, 1]]
    torch.testing.assert_close(found.scores, nearest_neighbours(directions, k=2).scores)


@pytest.mark.parametrize(("metric", "size"), [("dot", 1e25), ("dot", 1e-25), ("dot", 3e38), ("euclidean", 3e38)])
def test_sizes_that_products_cannot_hold_are_refused(metric: str, size: float) -> None:
    with pytest.raises(ValueError, match=rf"with which metric '{metric}' cannot compute in torch.float32: multiply"):
        nearest_neighbours(torch.eye(3) * size, k=1, metric=metric)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_distances_have_the_size_of_points(size: float) -> None:
    scores = nearest_neighbours(torch.eye(3) * size, k=1, metric="euclidean").scores
    torch.testing.assert_close(scores / size, torch.full((3, 1), -(2**0.5)))


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 2.0**-20), (torch.float64, 2.0**-45)])
@pytest.mark.parametrize("count", [20, 60])
def test_near_points_keep_their_digits(dtype: torch.dtype, gap: float, count: int) -> None:
    """Out of products of matrices, which torch takes above 25 points, nothing of them is left."""
    far = torch.randn(count, 8, generator=torch.Generator().manual_seed(0), dtype=dtype) + 1
    points = torch.cat([far, far[:1] + gap, far[:1] + 2 * gap, far[:1]])
    found = nearest_neighbours(points, far[:1], k=4, metric="euclidean")
    assert found.places.tolist() == [[0, count + 2, count, count + 1]]
    wanted = (points.double() - far[:1].double()).norm(dim=1)[found.places[0]]
    torch.testing.assert_close(-found.scores[0].double(), wanted, rtol=1e-6, atol=0)


def test_heaps_of_near_points_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_room, "_AT_A_TIME", 10)
    points = torch.ones(40, 4) + torch.arange(40)[:, None] * 2.0**-20
    assert nearest_neighbours(points, points[3:4], k=3, metric="euclidean").places[0, 0] == 3
    found = Retriever(points, metric="euclidean").search(k=2)
    pairs = torch.stack([torch.arange(40), found.places[:, 0]], dim=1)
    assert torch.equal(Retriever(points, metric="euclidean").score_pairs(pairs), found.scores[:, 0])


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_whole_numbers_keep_all_digits(metric: str) -> None:
    large = 2**24  # above which fp32 has no odd numbers
    found = nearest_neighbours(np.array([[large], [large + 1]]), np.array([[large + 1]]), k=1, metric=metric)  # type: ignore[arg-type]
    assert found.places.item() == 1 and found.scores.dtype == torch.float64


class Frame:
    """A data frame, as NumPy sees one."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.values


POINTS = np.random.default_rng(0).normal(size=(6, 3))


@pytest.mark.parametrize(
    "given",
    [POINTS.astype(">f8"), POINTS.astype(np.longdouble), POINTS.astype(object), POINTS.tolist(), list(POINTS),
     list(torch.from_numpy(POINTS)), Frame(POINTS), np.asfortranarray(POINTS), POINTS.repeat(2, axis=0)[::-2][::-1]],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_embeddings_of_every_kind_are_searched(given: Any) -> None:
    assert torch.equal(nearest_neighbours(given, k=2).places, nearest_neighbours(POINTS, k=2).places)


@pytest.mark.parametrize(
    ("given", "named"),
    [(POINTS * 1j, "complex128"), (torch.ones(3, 2) > 0, r"torch\.bool"), (POINTS > 0, "bool"),
     (POINTS.astype(str), "<U"), (torch.ones(2, 2, dtype=torch.complex64), r"torch\.complex64"),
     (np.array([["a", 1]], dtype=object), "object"),
     (torch.eye(3).to_sparse(), r"torch\.sparse_coo")],
    ids=str,
)  # fmt: skip
def test_what_are_no_real_numbers_is_named(given: Any, named: str) -> None:
    with pytest.raises(TypeError, match=f"index holds {named}.*: give real numbers"):
        nearest_neighbours(given, k=1)


def test_numbers_of_neighbours_are_whole() -> None:
    for k in (True, 2.5, "3", None):
        with pytest.raises(TypeError, match=r"k=.*: give a whole number"):
            nearest_neighbours(POINTS, k=k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"index has rows of different lengths"):
        nearest_neighbours([[1.0], [1.0, 2.0]], k=1)
    with pytest.raises(ValueError, match=r"queries holds numbers too large for torch.float32"):
        nearest_neighbours(torch.eye(2), np.eye(2) * 1e200, k=1)
