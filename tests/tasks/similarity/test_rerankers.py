"""Each correction against its definition, a pair at a time, and what all of them keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nlpkit.tasks.similarity import (
    CSLS,
    InvertedSoftmax,
    LocalScaling,
    MutualProximity,
    Reranker,
    Retriever,
    faiss_search,
    hubness,
)
from nlpkit.tasks.similarity.retrieval import neighbours
from tests.reference import retrieval as oracle

RERANKERS: list[Reranker] = [
    CSLS(3),
    LocalScaling(3),
    LocalScaling(3, mean=True),
    MutualProximity(),
    InvertedSoftmax(0.5),
]
POINTS, QUERIES, REFERENCES = np.random.default_rng(5).normal(size=(3, 30, 4)) + 0.5


def by_definition(reranker: Reranker, queries: np.ndarray, references: np.ndarray | None, metric: str) -> np.ndarray:
    same = queries is POINTS
    scores = oracle.all_scores(queries, POINTS, metric, same=False)
    to_index = oracle.all_scores(queries, POINTS, metric, same=same)
    to_references = oracle.all_scores(
        POINTS, POINTS if references is None else references, metric, same=references is None
    )
    match reranker:
        case CSLS(k):
            return oracle.csls(scores, to_index, to_references, k)
        case LocalScaling(k, mean):
            return oracle.scaled(scores, to_index, to_references, k, metric, mean)
        case MutualProximity():
            return oracle.mutual(scores, to_index, to_references)
        case InvertedSoftmax(temperature):
            return oracle.inverted(scores, to_references, temperature)
    raise AssertionError(reranker)


@pytest.fixture(params=[(7, 11), (1024, 8192)], ids=str)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", request.param[0])
    monkeypatch.setattr(neighbours, "COLUMNS", request.param[1])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("references", [None, REFERENCES], ids=["itself", "references"])
@pytest.mark.parametrize("reranker", RERANKERS, ids=repr)
def test_scores_are_those_of_the_definition(reranker: Reranker, references: Any, metric: Any) -> None:
    retriever = Retriever(POINTS, reranker, references=references, metric=metric)
    for queries in (POINTS, QUERIES):
        wanted = by_definition(reranker, queries, references, metric)
        found = retriever.search(None if queries is POINTS else queries, 5)
        ranked = wanted.copy()
        if queries is POINTS:
            np.fill_diagonal(ranked, -np.inf)
            pairs = np.argwhere(~np.eye(len(POINTS), dtype=bool))
            np.testing.assert_allclose(
                retriever.score_pairs(pairs), wanted[pairs[:, 0], pairs[:, 1]], rtol=1e-7, atol=1e-9
            )
        assert found.places.tolist() == [oracle.best(row, 5) for row in ranked.tolist()]
        np.testing.assert_allclose(
            found.scores, np.take_along_axis(ranked, found.places.numpy(), 1), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("reranker", [None, *RERANKERS], ids=repr)
def test_the_order_of_points_changes_nothing(reranker: Reranker | None) -> None:
    order = np.random.default_rng(2).permutation(len(POINTS))
    plain = Retriever(POINTS, reranker).search(k=4).places.numpy()
    turned = Retriever(POINTS[order], reranker).search(k=4).places.numpy()
    assert (order[turned] == plain[order]).all()


@pytest.mark.parametrize("reranker", RERANKERS, ids=repr)
def test_a_planted_hub_is_made_up_for(reranker: Reranker) -> None:
    """The mean of all others is in the middle of them on the sphere, too, and near to many."""
    others = torch.randn(300, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.35
    points = torch.cat([others, others.mean(dim=0, keepdim=True)])
    before, after = (hubness(points, 5, reranker=one).occurrences[-1] for one in (None, reranker))
    assert before > 100 and after < before / 3


@pytest.mark.parametrize("reranker", [CSLS(3), LocalScaling(3)], ids=repr)
def test_an_engine_serves_the_statistics(reranker: Reranker) -> None:
    pytest.importorskip("faiss", reason="needs the extra 'faiss'")
    points = torch.from_numpy(POINTS).float()
    exact, fast = (Retriever(points, reranker, engine=engine).search(k=4) for engine in (None, faiss_search))
    assert exact.places.tolist() == fast.places.tolist()


@pytest.mark.parametrize("reranker", RERANKERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_copies_give_numbers(reranker: Reranker, dtype: torch.dtype) -> None:
    points = torch.cat([torch.ones(8, 3), torch.eye(3)]).to(dtype)
    for metric in ("cosine", "euclidean"):
        retriever = Retriever(points, reranker, metric=metric)  # type: ignore[arg-type]
        assert retriever.search(k=4).scores.isfinite().all()
        same = Retriever(torch.ones(6, 3), reranker, metric=metric)  # type: ignore[arg-type]
        assert same.search(k=4).scores.isfinite().all()


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(ValueError, match=r"LocalScaling needs distances, which metric 'dot' has not"):
        Retriever(POINTS, LocalScaling(), metric="dot")
    with pytest.raises(ValueError, match=r"the k of CSLS, k=10: a query has 2 points that can be neighbours"):
        Retriever(POINTS, CSLS(), references=POINTS[:2])
    with pytest.raises(TypeError, match=r"reranker='csls' must be a Reranker, such as CSLS\(\), or None"):
        Retriever(POINTS, "csls")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"temperature=0: give a finite number at least 1e-06"):
        InvertedSoftmax(0)
    with pytest.raises(ValueError, match=r"references has 3 dimensions and the others have 4"):
        Retriever(POINTS, CSLS(), references=POINTS[:, :3])
    retriever = Retriever(POINTS)
    with pytest.raises(ValueError, match=r"places of shape \(2,\): give two points for each pair"):
        retriever.score_pairs(np.array([0, 1]))
    with pytest.raises(TypeError, match=r"places are torch.float64; give the whole numbers of two points"):
        retriever.score_pairs(np.array([[0.0, 1.0]]))
    with pytest.raises(IndexError, match=r"places go from 0 to 30; the index has 30 points"):
        retriever.score_pairs(np.array([[0, 30]]))
    with pytest.raises(ValueError, match=r"queries: row 0 holds NaN"):
        retriever.search(np.full((1, 4), np.nan))


def test_settings_that_cannot_be_are_named() -> None:
    for make in (CSLS, LocalScaling):
        for k in (2.5, True, "3"):
            with pytest.raises(TypeError, match=r"k=.*: give a whole number at least 1"):
                make(k)  # type: ignore[arg-type]
    for temperature in (True, "1"):
        with pytest.raises(TypeError, match=r"temperature=.*: give a finite number"):
            InvertedSoftmax(temperature)  # type: ignore[arg-type]
    for temperature in (float("inf"), float("nan"), 0, 1e-320):
        with pytest.raises(ValueError, match=r"temperature=.*: give a finite number at least 1e-06"):
            InvertedSoftmax(temperature)
    with pytest.raises(ValueError, match=r"InvertedSoftmax has no other point to compare the only one with"):
        Retriever(POINTS[:1], InvertedSoftmax()).search(QUERIES, 1)


def test_copies_have_the_least_unit() -> None:
    """In fp32, as among more than 25 points distances come out of products of matrices."""
    points = torch.cat([torch.from_numpy(POINTS).float() + 100, torch.full((12, 4), 100.0)])
    scores = Retriever(points, LocalScaling(3), metric="euclidean").search(k=3).scores
    assert scores[-12:].abs().max() == 0
