"""Rates, decay and schedules that Amos derives, for other optimizers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nlpkit.optimizers import coupled_weight_decay, inverse_time_schedule, relative_rate_groups


def test_weights_decay_by_half_the_squared_rate_whatever_their_scale() -> None:
    torch.manual_seed(0)
    model = nn.Linear(50, 40).double()
    optimizer = torch.optim.AdamW(relative_rate_groups(model, 1e-2))
    schedule = inverse_time_schedule(optimizer, half_life=10)
    for step in range(20):
        before = model.weight.detach().clone()
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
        taken = 1 - model.weight / before
        torch.testing.assert_close(taken, torch.full_like(taken, 1e-4 / 2 / (1 + step / 10)), rtol=1e-8, atol=0)
        schedule.step()
    rates = {group["name"]: group["initial_lr"] for group in optimizer.param_groups}
    assert rates["bias"] == 0.005
    assert rates["weight"] == pytest.approx(1e-2 / 50**0.5 / 3**0.5, rel=0.05)  # uniform in +- 1 / sqrt(50)


@given(lr=st.floats(1e-5, 0.1), scale=st.floats(1e-3, 10), alignment=st.floats(0.1, 1))
def test_decay_is_of_the_order_of_the_squared_rate(lr: float, scale: float, alignment: float) -> None:
    assert lr * scale * coupled_weight_decay(lr, scale, alignment=alignment) == pytest.approx(lr**2 / 2 / alignment)


@pytest.mark.parametrize("squared", [False, True])
def test_rates_have_a_half_life(squared: bool) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = inverse_time_schedule(optimizer, half_life=8, warmup_steps=3, squared=squared)
    rates = []
    for _ in range(30):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[11] == pytest.approx(1.0)
    p = (2**0.5 - 1) / 8 if squared else 1 / 16
    for step, rate in enumerate(rates[3:]):
        expected = 2 / (p * step + 1) ** 2 if squared else 2 / (2 * p * step + 1)
        assert rate == pytest.approx(expected)


def test_bad_settings_are_refused() -> None:
    nan, model = float("nan"), nn.Linear(2, 2)
    for wrong in (0, -1.0, nan):
        with pytest.raises(ValueError, match=rf"lr={wrong}: give a finite number above 0"):
            coupled_weight_decay(wrong)
        with pytest.raises(ValueError, match=rf"scale={wrong}: give a finite number above 0"):
            coupled_weight_decay(1e-3, wrong)
        with pytest.raises(ValueError, match=rf"alignment={wrong}: give a finite number above 0"):
            relative_rate_groups(model, 1e-3, alignment=wrong)
        with pytest.raises(ValueError, match=rf"lr={wrong}: give a finite number above 0"):
            relative_rate_groups(model, wrong, decay=False)
        with pytest.raises(ValueError, match=rf"half_life={wrong}: give a finite number above 0"):
            inverse_time_schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), wrong)
    with pytest.raises(ValueError, match=r"warmup_steps=-1: give a whole number at least 0"):
        inverse_time_schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), 1.0, warmup_steps=-1)
    nn.init.zeros_(model.weight)
    with pytest.raises(ValueError, match=r"weight is constant, so its scale is not known"):
        relative_rate_groups(model, 1e-3)
