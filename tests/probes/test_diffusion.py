"""The two steps on Gaussian data, where everything is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.probes import probability_flow_step, reverse_variance

EXACT = {"rtol": 1e-10, "atol": 1e-12}
STEPS = 20
#: Levels from the data to noise.
SIGNAL = torch.linspace(1.0, 0.05, STEPS + 1, dtype=torch.float64)
NOISE = (1 - SIGNAL**2).sqrt()


def power(variance: Tensor | float, signal: Tensor | float, noise: Tensor | float) -> Tensor:
    """Mean square of the best prediction of noise, of data with this variance: ``noise * x / var(x)``."""
    return torch.as_tensor(noise**2 / (signal**2 * variance + noise**2), dtype=torch.float64)


@given(st.floats(0.01, 100), st.integers(1, STEPS), st.floats(0, 1))
def test_the_variance_is_that_of_the_earlier_point_given_the_later(variance: float, step: int, share: float) -> None:
    """By the covariance of the three normal variables data, noise and the step's own noise."""
    a, b, earlier_a, earlier_b = SIGNAL[step], NOISE[step], SIGNAL[step - 1], NOISE[step - 1]
    found = reverse_variance(power(variance, a, b), a, b, earlier_a, earlier_b, stochasticity=share)
    own = (share * earlier_b) ** 2 * (b**2 - (a / earlier_a * earlier_b) ** 2) / b**2
    kept = (earlier_b**2 - own).clamp(min=0).sqrt()
    later, earlier = (
        torch.stack([a, b, b * 0]),
        torch.stack([earlier_a, kept, own.sqrt()]),
    )  # of data, noise, its own
    sizes = torch.tensor([variance, 1.0, 1.0], dtype=torch.float64)
    covariance = (earlier * later * sizes).sum()
    expected = (earlier**2 * sizes).sum() - covariance**2 / (later**2 * sizes).sum()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_it_lies_between_the_small_and_the_large_one_and_is_the_small_one_for_a_point() -> None:
    a, b, earlier_a, earlier_b = SIGNAL[1:], NOISE[1:], SIGNAL[:-1], NOISE[:-1]
    small = earlier_b**2 * (b**2 - (a / earlier_a * earlier_b) ** 2) / b**2
    found = reverse_variance(power(2.0, a, b), a, b, earlier_a, earlier_b)
    largest = reverse_variance(0.0, a, b, earlier_a, earlier_b)
    assert (small <= found).all() and (found <= largest).all()
    torch.testing.assert_close(reverse_variance(1.0, a, b, earlier_a, earlier_b), small, **EXACT)
    torch.testing.assert_close(reverse_variance(1.7, a, b, earlier_a, earlier_b), small, **EXACT)  # clipped
    powers = [reverse_variance(one, a, b, earlier_a, earlier_b) for one in (0.0, 0.3, 0.6, 1.0)]
    assert all((more >= less).all() for more, less in pairwise(powers))


def test_sampling_back_with_it_keeps_the_variance_of_the_data_at_each_step() -> None:
    """What DDPM's small variance does not: with few steps its samples are too narrow."""
    variance, ours, small = 4.0, SIGNAL[-1] ** 2 * 4.0 + NOISE[-1] ** 2, SIGNAL[-1] ** 2 * 4.0 + NOISE[-1] ** 2
    for step in range(STEPS, 0, -1):
        a, b, earlier_a, earlier_b = SIGNAL[step], NOISE[step], SIGNAL[step - 1], NOISE[step - 1]
        own = earlier_b**2 * (b**2 - (a / earlier_a * earlier_b) ** 2) / b**2
        slope = b / (a**2 * variance + b**2)  # of the predicted noise
        mean = earlier_a * (1 - b * slope) / a + (earlier_b**2 - own).clamp(min=0).sqrt() * slope
        ours = mean**2 * ours + reverse_variance(power(variance, a, b), a, b, earlier_a, earlier_b)
        small = mean**2 * small + own
        torch.testing.assert_close(ours, earlier_a**2 * variance + earlier_b**2, **EXACT)
    assert ours.item() == pytest.approx(4.0) and small.item() < 3.9


def flowed(steps: int, variance: float = 4.0, start: float = 1.3) -> float:
    """A point taken from noise to the data by Euler's steps, with the best prediction of noise."""
    signal = torch.linspace(0.05, 1.0, steps + 1, dtype=torch.float64)
    noise = (1 - signal**2).clamp(min=0).sqrt()
    point = torch.tensor([start], dtype=torch.float64)
    for now, then in zip(range(steps), range(1, steps + 1), strict=True):
        predicted = noise[now] * point / (signal[now] ** 2 * variance + noise[now] ** 2)
        point = probability_flow_step(point, predicted, signal[now], noise[now], signal[then], noise[then])
    return point.item()


def test_the_flow_ends_where_the_distribution_does() -> None:
    """For Gaussian data the exact flow stretches by the deviations; halving the step halves the error."""
    exact = 1.3 * (4.0 / (0.05**2 * 4.0 + 1 - 0.05**2)) ** 0.5
    errors = [abs(flowed(steps) - exact) for steps in (1000, 2000, 4000)]
    assert errors[-1] < 5e-3
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2) and errors[1] / errors[2] == pytest.approx(2, abs=0.2)


def test_a_step_of_the_flow_is_ddim() -> None:
    generator = torch.Generator().manual_seed(0)
    state, predicted = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    data = (state - NOISE[9] * predicted) / SIGNAL[9]
    ddim = SIGNAL[8] * data + NOISE[8] * predicted
    torch.testing.assert_close(
        probability_flow_step(state, predicted, SIGNAL[9], NOISE[9], SIGNAL[8], NOISE[8]), ddim, **EXACT
    )
    assert probability_flow_step(state.half(), predicted.half(), 0.5, 0.5, 1.0, 0.0).dtype == torch.float16
    levels = (SIGNAL[[9, 5, 3], None], NOISE[[9, 5, 3], None], SIGNAL[[8, 4, 2], None], NOISE[[8, 4, 2], None])
    torch.testing.assert_close(
        probability_flow_step(state, predicted, *levels)[0], ddim[0], **EXACT
    )  # a time per point


def test_levels_that_do_not_lead_to_the_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"signal=0.8, noise=0.6, earlier_signal=0.6, .*the signal grows, from"):
        reverse_variance(0.5, 0.8, 0.6, 0.6, 0.8)
    with pytest.raises(ValueError, match="stochasticity=2 must lie from 0 to 1"):
        reverse_variance(0.5, 0.6, 0.8, 0.8, 0.6, stochasticity=2)
    with pytest.raises(ValueError, match=r"predicted_noise of shape \(1,\) is not that of the state, \(2,\)"):
        probability_flow_step(torch.zeros(2), torch.zeros(1), 0.6, 0.8, 0.8, 0.6)


def test_levels_and_states_that_are_no_numbers_are_named() -> None:
    for levels in ((math.nan, 0.6, 0.8, 0.8, 0.6), (1.0, 0.6, 0.8, math.inf, 0.6)):
        with pytest.raises(ValueError, match=r"one of the numbers given is NaN or infinite"):
            reverse_variance(*levels)
    with pytest.raises(TypeError, match=r"the state is of torch.int64"):
        probability_flow_step(torch.tensor([1]), torch.tensor([0]), 0.6, 0.8, 1.0, 0.0)
