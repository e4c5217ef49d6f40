"""Chains of labels, against every labelling by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.labels import decode_bio
from nlpkit.losses import CrossEntropyLoss
from nlpkit.tasks.entities import Chain, best_labels, chain_log_likelihood, log_marginals
from nlpkit.tasks.entities.heads.bio_heads import ChainHead, ChainLoss, bio_names, spans_of_labels
from nlpkit.tasks.entities.heads.span_decoding import UnitSpan
from tests.reference import entities as reference

LABELS = 3
#: Positions of the chain, with gaps, at the end, everywhere, and nowhere.
MASKS = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()


def chain(seed: int, scale: float = 1.0, forbidden: bool = False) -> Chain:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64) * scale

    moves, starts = drawn(LABELS, LABELS), drawn(LABELS)
    if forbidden:
        moves[0, 2], starts[2] = -torch.inf, -torch.inf
    return Chain(drawn(5, 4, LABELS), moves, starts, drawn(LABELS))


def chances(scores: Chain, row: int) -> dict[tuple[int, ...], float]:
    emissions, *moves = (part.tolist() for part in scores._replace(emissions=scores.emissions[row][MASKS[row]]))
    return reference.chances(emissions, *moves)


@given(st.integers(0, 999), st.booleans())
@settings(max_examples=12)
def test_likelihoods_are_those_among_all_labellings(seed: int, forbidden: bool) -> None:
    scores = chain(seed, forbidden=forbidden)
    labels = torch.randint(0, 2, (5, 4), generator=torch.Generator().manual_seed(seed))  # never the forbidden move
    found = chain_log_likelihood(scores, torch.where(MASKS, labels, -100), MASKS)
    for row in range(5):
        chance = chances(scores, row)[tuple(labels[row][MASKS[row]].tolist())]
        assert found[row].item() == pytest.approx(math.log(chance), abs=1e-10)


@given(st.integers(0, 999), st.booleans())
@settings(max_examples=12)
def test_the_best_labelling_is_the_best_of_all(seed: int, forbidden: bool) -> None:
    scores = chain(seed, forbidden=forbidden)
    found = best_labels(scores, MASKS)
    assert found[~MASKS].eq(-1).all()
    for row in range(5):
        every = chances(scores, row)
        assert every[tuple(found[row][MASKS[row]].tolist())] == max(every.values())


@given(st.integers(0, 999), st.booleans())
@settings(max_examples=12)
def test_marginals_are_sums_over_labellings(seed: int, forbidden: bool) -> None:
    scores = chain(seed, forbidden=forbidden)
    found = log_marginals(scores, MASKS).exp()
    for row in range(5):
        every = chances(scores, row)
        for number, place in enumerate(MASKS[row].nonzero()[:, 0].tolist()):
            for label in range(LABELS):
                expected = math.fsum(chance for path, chance in every.items() if path[number] == label)
                assert found[row, place, label].item() == pytest.approx(expected, abs=1e-10)


def test_gradients_are_right_and_finite_where_moves_are_forbidden() -> None:
    scores = chain(3, forbidden=True)
    leaves = [part.requires_grad_() for part in scores]
    labels = torch.zeros(5, 4, dtype=torch.long)
    chain_log_likelihood(Chain(*leaves), labels, MASKS).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)
    marginals = log_marginals(Chain(*leaves), MASKS).exp()
    expected = torch.where(MASKS[..., None], torch.nn.functional.one_hot(labels, LABELS) - marginals, 0.0)
    torch.testing.assert_close(leaves[0].grad, expected, rtol=0, atol=1e-10)


def test_without_moves_a_chain_is_a_cross_entropy() -> None:
    emissions = chain(1).emissions
    flat = Chain(emissions, torch.zeros(3, 3), torch.zeros(3), torch.zeros(3))
    labels = torch.where(MASKS, torch.tensor([2, 0, 1, 1]), -100)
    expected = CrossEntropyLoss()(emissions, labels)
    found = ChainLoss().terms({"chain": flat}, {"labels": labels}, {})["loss"]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_extreme_scores_stay_finite(scale: float) -> None:
    scores = Chain(*(part.float().requires_grad_() for part in chain(0, scale)))
    loss = -chain_log_likelihood(scores, torch.zeros(5, 4, dtype=torch.long), MASKS).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in scores)


def test_labels_that_bio_forbids_are_refused() -> None:
    moves = ChainHead(2, learnt=True)(torch.zeros(1, 2, 5))
    for labels in ([0, 2], [1, 4], [2, 2]):
        with pytest.raises(ValueError, match="text 0 of the batch follow one another as BIO does not allow"):
            chain_log_likelihood(moves, torch.tensor([labels]), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="labels hold 0 to 5, but there are 5 of them"):
        chain_log_likelihood(moves, torch.tensor([[0, 5]]), torch.ones(1, 2, dtype=torch.bool))


@given(st.integers(0, 999))
@settings(max_examples=10)
def test_without_learnt_moves_the_best_labelling_is_decode_bios(seed: int) -> None:
    emissions = torch.randn(5, 4, 5, generator=torch.Generator().manual_seed(seed))
    found = best_labels(ChainHead(2, learnt=False)(emissions), MASKS)
    expected = decode_bio(emissions, MASKS, bio_names(["LOC", "PER"]))
    assert torch.equal(found[MASKS], expected[MASKS])


def spans_in(path: tuple[int, ...]) -> set[tuple[int, int, int]]:
    found, begin = set(), None
    for place, label in enumerate([*path, 0]):
        if begin is not None and label != path[begin] + 1:
            found.add((begin, place - 1, path[begin] // 2))
            begin = None
        if label % 2 == 1:
            begin = place
    return found


@pytest.mark.parametrize("learnt", [True, False])
def test_the_probability_of_a_span_is_that_of_all_labellings_with_it(learnt: bool) -> None:
    torch.manual_seed(2)
    head = ChainHead(2, learnt).double()
    for scores in head.moves.values():
        torch.nn.init.normal_(scores)
    scores: Any = head(torch.randn(1, 5, 5, dtype=torch.float64))
    mask = torch.tensor([[True, True, False, True, True]])
    emissions, *moves = (part.tolist() for part in scores._replace(emissions=scores.emissions[0][mask[0]]))
    every = reference.chances(emissions, *moves)
    places = mask[0].nonzero()[:, 0].tolist()
    for path in ((1, 2, 0, 3), (3, 4, 4, 4), (0, 1, 1, 2), (1, 3, 4, 1)):
        labels = torch.full((1, 5), -1)
        labels[mask] = torch.tensor(path)
        found = spans_of_labels(scores, labels, mask)
        assert {(span.first, span.last, span.type) for span in found} == {
            (places[first], places[last], kind) for first, last, kind in spans_in(path)
        }
        for span in found:
            own = (places.index(span.first), places.index(span.last), span.type)
            expected = math.fsum(chance for other, chance in every.items() if own in spans_in(other))
            assert span.score == pytest.approx(expected, abs=1e-10)


def test_chains_without_positions_have_no_spans() -> None:
    scores = ChainHead(1, learnt=True)(torch.zeros(1, 2, 3))
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    assert spans_of_labels(scores, best_labels(scores, nothing), nothing) == []
    assert chain_log_likelihood(scores, torch.zeros(1, 2, dtype=torch.long), nothing).item() == 0
    assert isinstance(UnitSpan(0, 0, 0, 0, 1.0), tuple)


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(1, 3\) do not fit emissions of shape \(1, 2, 3\)"):
        ChainLoss().terms(
            {"chain": ChainHead(1, learnt=True)(torch.zeros(1, 2, 3))}, {"labels": torch.zeros(1, 3)}, {}
        )
