"""Divergences against sums written down, at extremes, and where others go wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence
from torch.nn import functional as F

from nlpkit.losses import bernoulli, gaussian, softmax
from nlpkit.losses.divergences import Divergence


def scores(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    first, second = (3 * torch.randn(*shape, generator=drawn, dtype=torch.float64) for _ in range(2))
    return first, second


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 6))
def test_they_are_kullback_leibler_of_the_distributions(seed: int, items: int, classes: int) -> None:
    first, second = scores(seed, items, classes)
    cases = [
        (softmax, kl_divergence(*(Categorical(logits=s) for s in (first, second)))),
        (bernoulli(), kl_divergence(*(Bernoulli(logits=s) for s in (first, second))).sum(dim=1)),
        (bernoulli(2.0), kl_divergence(*(Bernoulli(logits=2 * s) for s in (first, second))).sum(dim=1)),
        (gaussian, kl_divergence(*(Normal(s, torch.ones_like(s)) for s in (first, second))).sum(dim=1)),
    ]
    for divergence, expected in cases:
        torch.testing.assert_close(divergence.directed(first, second), expected, rtol=1e-10, atol=1e-10)
        both = divergence.directed(first, second) + divergence.directed(second, first)
        torch.testing.assert_close(divergence.symmetric(first, second), both, rtol=1e-10, atol=1e-10)
        assert (divergence.symmetric(first, second) >= 0).all()


@pytest.mark.parametrize("divergence", [softmax, bernoulli(), bernoulli(2.0), gaussian])
@pytest.mark.parametrize("scale", [20.0, 1e4])
def test_extremes_are_finite_with_their_gradients(divergence: Divergence, scale: float) -> None:
    first, second = (scale * s.float() for s in scores(0, 5, 3))
    for function in divergence:
        leaf = second.clone().requires_grad_()
        value = function(first, leaf).sum()
        value.backward()
        assert value.isfinite()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_classes_that_cannot_be_have_no_part() -> None:
    first, second = scores(0, 4, 5)
    hidden = [torch.cat([s, torch.full((4, 2), float("-inf"), dtype=s.dtype)], dim=1) for s in (first, second)]
    leaf = hidden[1].clone().requires_grad_()
    value = softmax.symmetric(hidden[0], leaf)
    torch.testing.assert_close(value, softmax.symmetric(first, second))
    value.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("classes", [2, 5, 20, 100])
def test_classes_are_summed_over_and_not_averaged(classes: int) -> None:
    """bert4torch averages the divergence over batch and classes, as many times too small as there are classes."""
    first, second = scores(1, 8, 2)
    hopeless = torch.full((8, classes - 2), -1e3, dtype=torch.float64)
    wide = [torch.cat([s, hopeless], dim=1) for s in (first, second)]
    torch.testing.assert_close(softmax.symmetric(*wide), softmax.symmetric(first, second))
    p, q = (s.log_softmax(dim=-1) for s in wide)
    theirs = sum(F.kl_div(*pair, reduction="none", log_target=True).mean() for pair in ((p, q), (q, p)))
    torch.testing.assert_close(softmax.symmetric(*wide).mean() / theirs, torch.tensor(float(classes)).double())


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("sure", [-torch.inf, torch.inf])
def test_answers_that_both_are_sure_of_do_not_differ(scale: float, sure: float) -> None:
    first, second = torch.tensor([[sure, 1.0]]).requires_grad_(), torch.tensor([[sure, 0.0]]).requires_grad_()
    for function in bernoulli(scale):
        found = function(first, second)
        torch.testing.assert_close(found, function(first[:, 1:], second[:, 1:]))
        for slope in torch.autograd.grad(found.sum(), [first, second]):
            assert slope.isfinite().all() and slope[0, 0] == 0
        assert function(first, torch.zeros(1, 2)).item() > 0 and function(torch.zeros(1, 2), first).item() > 1e30
