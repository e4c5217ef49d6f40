"""The smooth largest number and its place: limits, bounds, masks and gradients."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.losses import smooth_max, soft_argmax, soft_onehot


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 8), st.floats(0.1, 1e3), st.integers(0, 2**31))
def test_the_smooth_largest_is_above_the_largest_by_a_known_bound(n: int, sharpness: float, seed: int) -> None:
    scores = 10 * drawn(3, n, seed=seed)
    gap = smooth_max(scores, sharpness) - scores.amax(-1)
    assert (gap >= -1e-12).all() and (gap <= log(n) / sharpness + 1e-12).all()


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_in_the_limit_all_are_hard(dim: int) -> None:
    scores = torch.randperm(60, generator=torch.Generator().manual_seed(0)).view(3, 4, 5).double()
    hard = scores.argmax(dim, keepdim=True)
    onehot = torch.zeros_like(scores).scatter(dim, hard, 1.0)
    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(soft_onehot(scores, 100.0, dim=dim), onehot, **exact)
    torch.testing.assert_close(soft_argmax(scores, 100.0, dim=dim), hard.squeeze(dim).double(), **exact)
    torch.testing.assert_close(smooth_max(scores, 100.0, dim=dim), scores.amax(dim), **exact)
    for sharpness in (1.0, 0.01):
        found = soft_onehot(scores, sharpness, dim=dim, straight_through=True)
        torch.testing.assert_close(found, onehot, **exact)
        found = soft_argmax(scores, sharpness, dim=dim, straight_through=True)
        torch.testing.assert_close(found, hard.squeeze(dim).double(), **exact)


def test_between_two_equal_ones_is_the_middle() -> None:
    assert soft_argmax(torch.tensor([5.0, 0.0, 5.0]), 50.0).item() == pytest.approx(1.0)


@pytest.mark.parametrize("function", [smooth_max, soft_onehot, soft_argmax])
def test_masked_scores_are_as_if_they_were_not_there_and_gradients_are_right(function: object) -> None:
    scores = drawn(2, 5).requires_grad_()
    mask = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 0, 0]]).bool()
    assert callable(function)
    assert torch.autograd.gradcheck(lambda s: function(s, 3.0, mask=mask), (scores,))
    found = function(scores, 3.0, mask=mask)
    minus = function(scores.masked_fill(~mask, -torch.inf), 3.0)
    assert torch.equal(found, minus)
    found.sum().backward()
    assert scores.grad is not None and not scores.grad[~mask].any()
    kept = function(scores[1, :3], 3.0)
    torch.testing.assert_close(found[1] if found.dim() == 1 else found[1, :3], kept, rtol=0, atol=1e-12)


def test_straight_through_has_the_gradient_of_the_soft_one() -> None:
    soft, hard = drawn(4).requires_grad_(), drawn(4).requires_grad_()
    soft_argmax(soft, 2.0).backward()
    soft_argmax(hard, 2.0, straight_through=True).backward()
    assert soft.grad is not None and soft.grad.any()
    torch.testing.assert_close(hard.grad, soft.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("straight_through", [False, True])
def test_where_nothing_is_left_there_is_nothing_and_no_nan(straight_through: bool) -> None:
    scores, mask = drawn(2, 3).requires_grad_(), torch.tensor([[False] * 3, [True] * 3])
    onehot = soft_onehot(scores, mask=mask, straight_through=straight_through)
    largest = smooth_max(scores, mask=mask)
    assert not onehot[0].any() and largest[0] == -torch.inf
    (onehot.square().sum() + largest[1]).backward()
    assert scores.grad is not None and scores.grad.isfinite().all() and not scores.grad[0].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    scores = torch.tensor([3e4, -3e4, 1.0], dtype=dtype)
    assert smooth_max(scores, 100.0).dtype == torch.float32
    assert smooth_max(scores, 100.0).item() == pytest.approx(scores[0].item())
    assert soft_onehot(scores, 100.0).tolist() == [1.0, 0.0, 0.0]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"sharpness=0: give a finite number above 0"):
        smooth_max(drawn(3), 0)
    with pytest.raises(ValueError, match=r"mask of shape \(3,\) does not fit scores of shape \(2, 3\)"):
        soft_onehot(drawn(2, 3), mask=torch.ones(3))
