"""Smooth top k: what every such function must keep, its closed forms, and where a recursion does not."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.losses import soft_topk

Method = Literal["exp", "sigmoid"]
METHODS: list[Method] = ["exp", "sigmoid"]
each_method = pytest.mark.parametrize("method", METHODS)


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    st.integers(1, 8), st.integers(1, 8), st.sampled_from([0.01, 1.0, 30.0]), st.sampled_from(METHODS),
    st.integers(0, 2**31),
)  # fmt: skip
def test_it_sums_to_k_within_0_and_1_in_the_order_of_the_scores(
    n: int, k: int, scale: float, method: Method, seed: int
) -> None:
    k = min(n, k)
    scores = drawn(3, n, seed=seed, scale=scale)
    found = soft_topk(scores, k, method=method)
    torch.testing.assert_close(found.sum(-1), torch.full((3,), float(k), dtype=torch.float64), rtol=0, atol=1e-9)
    assert (found >= 0).all() and (found <= 1).all()
    in_order = found.gather(-1, scores.argsort(-1))
    assert (in_order.diff(dim=-1) >= -1e-12).all()
    torch.testing.assert_close(soft_topk(scores + 7.5, k, method=method), found, rtol=0, atol=1e-9)
    threshold_form = soft_topk(scores, k, method=method).clamp(1e-300, 1 - 1e-16)
    free = (found < 1 - 1e-9) & (found > 1e-9)
    inverse = threshold_form.log() if method == "exp" else threshold_form.logit()
    for row in range(3):  # scores - inverse(found) is one threshold
        thresholds = (scores - inverse)[row][free[row]]
        assert len(thresholds) < 2 or thresholds.max() - thresholds.min() < 1e-5


@each_method
def test_in_the_limit_it_is_hard(method: Method) -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 5.0, 4.0], [0.0, -1.0, 9.0, 8.0, 7.0]])
    hard = torch.tensor([[0.0, 0, 0, 1, 1], [0.0, 0, 1, 1, 0]])
    torch.testing.assert_close(soft_topk(scores, 2, 100.0, method=method), hard, rtol=0, atol=1e-6)
    torch.testing.assert_close(soft_topk(scores, 2, 0.5, method=method, straight_through=True), hard)


def test_one_largest_is_the_softmax() -> None:
    scores = drawn(4, 6, scale=5.0)
    torch.testing.assert_close(soft_topk(scores, 1), scores.softmax(-1), rtol=0, atol=1e-12)


def test_a_recursion_leaves_the_unit_interval_and_the_order() -> None:
    scores = torch.tensor([100.0, 99.0, 98.0, 0.0], dtype=torch.float64)
    shifted, recursive = scores - scores.min(), torch.zeros(4, dtype=torch.float64)
    for _ in range(2):  # kexue.fm/archives/6620
        recursive = recursive + ((1 - recursive) * shifted).softmax(-1)
    assert recursive[2] > 1.08 and recursive[2] > recursive[0]
    for method in METHODS:
        found = soft_topk(scores, 2, method=method)
        assert found.sum().item() == pytest.approx(2) and found.max() <= 1
        assert (found.diff() < 0).all()


@each_method
def test_gradients_are_right(method: Method) -> None:
    scores = drawn(2, 3, 5, scale=1.5).requires_grad_()
    for dim, k in ((-1, 2), (1, 1)):
        assert torch.autograd.gradcheck(lambda s, d=dim, n=k: soft_topk(s, n, 2.0, method=method, dim=d), (scores,))
    mask = torch.ones(2, 3, 5, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 0, 0] = mask[1, 0, 4] = False
    assert torch.autograd.gradcheck(lambda s: soft_topk(s, 2, method=method, mask=mask), (scores,))
    soft_topk(scores, 2, method=method, mask=mask).square().sum().backward()
    assert scores.grad is not None and not scores.grad[~mask].any() and scores.grad[mask].any()


@each_method
def test_masked_scores_and_minus_infinity_are_not_there(method: Method) -> None:
    scores = drawn(6)
    mask = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    found = soft_topk(scores, 2, method=method, mask=mask)
    assert torch.equal(found, soft_topk(scores.masked_fill(~mask, -torch.inf), 2, method=method))
    torch.testing.assert_close(found[mask], soft_topk(scores[mask], 2, method=method), rtol=0, atol=1e-12)
    assert not found[~mask].any()


@each_method
def test_all_of_them_are_1_with_no_gradient(method: Method) -> None:
    scores = torch.tensor([[1.0, 9.0, -torch.inf], [2.0, 2.0, 0.0]]).requires_grad_()
    found = soft_topk(scores, 2, method=method)
    assert found[0].tolist() == [1.0, 1.0, 0.0]
    found[0].square().sum().backward()
    assert scores.grad is not None and not scores.grad.nan_to_num(9.0).any()
    assert soft_topk(torch.zeros(4), 4, method=method).tolist() == [1.0] * 4


@each_method
def test_ties_share_what_is_left(method: Method) -> None:
    found = soft_topk(torch.tensor([9.0, 1.0, 1.0, 1.0, -60.0]).double(), 2, 20.0, method=method)
    expected = torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 0]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


@each_method
def test_straight_through_has_the_gradient_of_the_soft_one(method: Method) -> None:
    soft, hard, weights = drawn(5).requires_grad_(), drawn(5).requires_grad_(), drawn(5, seed=3)
    (soft_topk(soft, 2, method=method) @ weights).backward()
    (soft_topk(hard, 2, method=method, straight_through=True) @ weights).backward()
    assert soft.grad is not None and soft.grad.any()
    torch.testing.assert_close(hard.grad, soft.grad, rtol=0, atol=1e-12)


@each_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_scores_stay_finite_in_every_precision(dtype: torch.dtype, method: Method) -> None:
    scores = torch.tensor([6e4, -6e4, 0.0, 5e4, 12.0], dtype=dtype, requires_grad=True)
    found = soft_topk(scores, 3, method=method)
    found.square().sum().backward()
    assert found.dtype == torch.float32 and found.sum().item() == pytest.approx(3, abs=1e-4)
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"k=3 must be between 1 and the number of scores, which is 2 where it is"):
        soft_topk(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, -torch.inf]]), 3)
    with pytest.raises(ValueError, match=r"k=0: give a whole number at least 1"):
        soft_topk(drawn(3), 0)
    with pytest.raises(ValueError, match=r'method=\'relu\' must be "exp" or "sigmoid"'):
        soft_topk(drawn(3), 1, method="relu")  # type: ignore[arg-type]
