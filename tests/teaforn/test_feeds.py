"""What is fed in place of a token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nlpkit.teaforn import Argmax, EmbeddingMixture, Feed, Gumbel, Raw, RmsMatched, Vocabulary

SIZE, WIDTH = 7, 4


def inputs(scale: float = 1.0) -> tuple[Tensor, Tensor, torch.nn.Embedding]:
    torch.manual_seed(0)
    hidden = torch.randn(2, 3, WIDTH, dtype=torch.float64).requires_grad_()
    embedding = torch.nn.Embedding(SIZE, WIDTH, dtype=torch.float64)
    logits = scale * hidden @ torch.randn(WIDTH, SIZE, dtype=torch.float64)
    return hidden, logits, embedding


def fed(feed: Feed, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, torch.nn.Embedding]:
    hidden, logits, embedding = inputs(scale)
    return feed(hidden, logits, Vocabulary(embedding, SIZE)), hidden, logits, embedding


def test_raw_is_the_state() -> None:
    found, hidden, *_ = fed(Raw())
    assert torch.equal(found, hidden)


def test_a_matched_state_has_its_direction_and_the_scale_of_the_embedding() -> None:
    found, hidden, _, embedding = fed(RmsMatched())
    torch.testing.assert_close(torch.cosine_similarity(found, hidden, dim=-1), torch.ones(2, 3).double())
    rms = embedding.weight.square().mean().sqrt().expand(2, 3)
    torch.testing.assert_close(found.square().mean(-1).sqrt(), rms)
    (by_embedding,) = torch.autograd.grad(found.sum(), embedding.weight, allow_unused=True)
    assert by_embedding is None


@pytest.mark.parametrize("top_k", [1, 3, None, 99])
def test_a_mixture_is_the_mean_embedding_of_the_likeliest_tokens(top_k: int | None) -> None:
    found, _, logits, embedding = fed(EmbeddingMixture(top_k, temperature=0.7))
    for row in range(2):
        for position in range(3):
            shares = (logits[row, position] / 0.7).exp()
            kept = sorted(range(SIZE), key=lambda token: -shares[token].item())[: top_k or SIZE]
            expected = sum(shares[token] * embedding.weight[token] for token in kept) / sum(
                shares[token] for token in kept
            )
            torch.testing.assert_close(found[row, position], expected)


def test_argmax_is_the_likeliest_tokens_embedding_and_has_no_gradient_to_the_states() -> None:
    found, hidden, logits, embedding = fed(Argmax())
    assert torch.equal(found, embedding(logits.argmax(-1)))
    (by_hidden,) = torch.autograd.grad(found.sum(), hidden, allow_unused=True)
    assert by_hidden is None


def test_gumbel_reads_one_token_and_learns_by_all() -> None:
    found, hidden, _, embedding = fed(Gumbel(temperature=0.5))
    nearest = torch.cdist(found.flatten(0, 1), embedding.weight).min(-1).values
    assert nearest.max() < 1e-6
    (by_hidden,) = torch.autograd.grad(found.sum(), hidden)
    assert (by_hidden.abs().sum(-1) > 0).all()


def test_gumbel_draws_tokens_as_often_as_they_are_likely() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(1, 20_000, 3)
    embedding = torch.nn.Embedding.from_pretrained(torch.eye(3))
    found = Gumbel()(torch.zeros(1, 1, 1), logits, Vocabulary(embedding, 3))
    torch.testing.assert_close(found.mean((0, 1)), torch.tensor([0.1, 0.2, 0.7]), atol=0.02, rtol=0)


def test_cold_feeds_are_the_likeliest_token() -> None:
    argmax = fed(Argmax(), scale=100.0)[0]
    for feed in (EmbeddingMixture(None, 1e-3), EmbeddingMixture(2, 1e-3)):
        torch.testing.assert_close(fed(feed, scale=100.0)[0], argmax, atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [Raw, RmsMatched, EmbeddingMixture, Argmax, Gumbel])
def test_detached_feeds_have_no_gradient(make: Callable[..., Feed]) -> None:
    assert not fed(make(detach=True))[0].requires_grad
    assert fed(make())[0].requires_grad


def test_a_head_that_is_padded_beyond_the_embedding_feeds_no_token_that_is_not_there() -> None:
    hidden, logits, embedding = inputs()
    padded = torch.cat([logits, torch.full((2, 3, 5), 99.0).double()], -1)
    vocabulary = Vocabulary(embedding, SIZE)
    for feed in (EmbeddingMixture(), EmbeddingMixture(None), Argmax()):
        assert torch.equal(feed(hidden, padded, vocabulary), feed(hidden, logits, vocabulary))


def test_half_precision_stays_what_it_is_and_finite() -> None:
    hidden, logits, embedding = inputs(1e4)
    half = torch.nn.Embedding.from_pretrained(embedding.weight.detach().bfloat16())
    for feed in (Raw(), RmsMatched(), EmbeddingMixture(), EmbeddingMixture(None), Argmax(), Gumbel()):
        found = feed(hidden.bfloat16(), logits.bfloat16(), Vocabulary(half, SIZE))
        assert found.dtype == torch.bfloat16 and found.isfinite().all()


def test_what_is_not_given_or_out_of_range_is_told() -> None:
    with pytest.raises(ValueError, match=r"Argmax needs logits=, which was not given"):
        Argmax()(torch.zeros(1, 1, WIDTH), None, None)
    with pytest.raises(ValueError, match=r"RmsMatched needs vocabulary="):
        RmsMatched()(torch.zeros(1, 1, WIDTH), None, None)
    with pytest.raises(ValueError, match=r"top_k=0: give a whole number at least 1; None takes all"):
        EmbeddingMixture(0)
    for make in (EmbeddingMixture, Gumbel):
        with pytest.raises(ValueError, match=r"temperature=0: give a finite number above 0"):
            make(temperature=0)
