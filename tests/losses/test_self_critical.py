"""Policy gradients: unbiased by enumeration of all samples, with less variance the better the baseline."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import minimum_risk, policy_gradient
from tests.losses.test_loss import drawn

LOGITS = torch.tensor([0.5, -0.3, 0.1, -1.0], dtype=torch.float64)
REWARDS = torch.tensor([10.0, 11.0, 9.5, 10.5], dtype=torch.float64)


def moments(samples: int, **options: Any) -> tuple[Tensor, float]:
    """Mean and variance of the gradient over all draws of so many samples of one token, exactly."""
    mean, square = torch.zeros(4).double(), 0.0
    for draw in product(range(4), repeat=samples):
        logits = LOGITS.clone().requires_grad_()
        log_probs = logits.log_softmax(0)[list(draw)]
        loss = policy_gradient(log_probs.view(1, -1, 1), REWARDS[list(draw)].view(1, -1), **options)
        (found,) = torch.autograd.grad(loss.sum(), logits)
        chance = log_probs.sum().exp().item()
        mean, square = mean + chance * found, square + chance * found.square().sum().item()
    return mean, square - mean.square().sum().item()


def true_gradient() -> Tensor:
    logits = LOGITS.clone().requires_grad_()
    (found,) = torch.autograd.grad(-(logits.softmax(0) * REWARDS).sum(), logits)
    return found


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (1, {"baseline": "none"}),
        (3, {"baseline": "none"}),
        (2, {"baseline": "leave_one_out"}),
        (3, {"baseline": "leave_one_out"}),
        (2, {"baseline": "greedy", "greedy": REWARDS[:1]}),
    ],
)
def test_its_mean_is_the_gradient_of_the_expected_reward(samples: int, options: Any) -> None:
    torch.testing.assert_close(moments(samples, **options)[0], true_gradient(), rtol=0, atol=1e-12)


def test_the_mean_baseline_shrinks_it_by_a_share() -> None:
    for samples in (2, 4):
        mean, _ = moments(samples, baseline="mean")
        torch.testing.assert_close(mean, (1 - 1 / samples) * true_gradient(), rtol=0, atol=1e-12)


def test_baselines_take_most_of_the_variance() -> None:
    none = moments(2, baseline="none")[1]
    others = moments(2, baseline="leave_one_out")[1]
    expected = (LOGITS.softmax(0) * REWARDS).sum().view(1)
    known = moments(2, baseline="greedy", greedy=expected)[1]  # the expected reward itself
    chances = LOGITS.softmax(0)
    norms = (torch.eye(4) - chances).square().sum(1) * chances
    best = moments(2, baseline="greedy", greedy=((norms * REWARDS).sum() / norms.sum()).view(1))[1]
    assert best < known < others < none / 50


def test_log_probs_are_summed_within_the_mask_or_averaged() -> None:
    log_probs, rewards = drawn(2, 3, 4).clamp(max=0), drawn(2, 3, seed=1)
    mask = torch.arange(4) < torch.tensor([[4, 2, 1], [3, 0, 4]]).unsqueeze(-1)
    hidden = torch.where(mask, log_probs, torch.nan).requires_grad_()
    for normalised in (False, True):
        lengths = mask.sum(-1).clamp(min=1) if normalised else 1
        scores = torch.where(mask, log_probs, 0).sum(-1) / lengths
        others = (rewards.sum(1, keepdim=True) - rewards) / 2
        found = policy_gradient(hidden, rewards, mask, length_normalised=normalised)
        torch.testing.assert_close(found, -((rewards - others) * scores).mean(1), rtol=0, atol=1e-12)
        (slope,) = torch.autograd.grad(found.sum(), hidden)
        assert slope.isfinite().all() and not slope[~mask].any()


def test_minimum_risk_is_the_expectation_over_samples() -> None:
    log_probs, rewards = drawn(2, 3, 4), drawn(2, 3, seed=1)
    weights = (0.5 * log_probs.sum(-1)).exp()
    expected = -(weights / weights.sum(1, keepdim=True) * rewards).sum(1)
    torch.testing.assert_close(minimum_risk(log_probs, rewards, sharpness=0.5), expected, rtol=0, atol=1e-12)
    every = torch.stack([LOGITS.log_softmax(0)], 0).unsqueeze(-1)  # each output once: the expected reward itself
    found = minimum_risk(every, REWARDS.view(1, 4), sharpness=1.0)
    torch.testing.assert_close(found[0], -(LOGITS.softmax(0) * REWARDS).sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_probs": drawn(2, 3)}, r"log_probs are of shape \(2, 3\); give \(inputs, samples, length\)"),
        ({"mask": torch.ones(2, 3)}, r"and a mask of the same shape, not \(2, 3\)"),
        ({"rewards": drawn(2, 2)}, r"rewards are of shape \(2, 2\); give one per sample, \(2, 3\)"),
        ({"rewards": torch.full((2, 3), torch.nan)}, "rewards hold NaN or infinity"),
        ({"baseline": "greedy"}, "baseline='greedy' with greedy=None"),
        ({"greedy": drawn(2)}, "give rewards of greedy outputs for 'greedy' alone"),
        ({"baseline": "greedy", "greedy": drawn(2, 3)}, r"greedy is of shape \(2, 3\); give one .* \(2,\)"),
        ({"baseline": "best"}, "baseline='best': give 'leave_one_out'"),
        ({"log_probs": drawn(2, 1, 4), "rewards": drawn(2, 1)}, "compares samples of an input, and there is 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options: Any, message: str) -> None:
    given = {"log_probs": drawn(2, 3, 4), "rewards": drawn(2, 3), **options}
    with pytest.raises(ValueError, match=message):
        policy_gradient(given.pop("log_probs"), given.pop("rewards"), **given)
