"""EXACT: probabilities by quadrature against a fine grid, sampling, closed forms and a gradient of torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import ExactLoss, exact_log_probability
from nlpkit.losses.imbalance.exact import LogNormalCdf
from tests.losses.test_loss import drawn

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def on_a_grid(logits: Tensor, label: int, sigma: float) -> Tensor:
    """The integral over the label's noise, by the trapezoid rule."""
    noise = torch.linspace(-40, 160, 80_001, dtype=torch.float64)
    total = -(noise**2) / 2 - math.log(2 * math.pi) / 2
    for rival in range(len(logits)):
        if rival != label:
            total = total + torch.special.log_ndtr(noise + (logits[label] - logits[rival]) / sigma)
    return total.logsumexp(0) + math.log(200 / 80_000)


@pytest.mark.parametrize(("classes", "scale"), [(5, 1.0), (5, 5.0), (5, 20.0), (60, 3.0)])
@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_it_is_the_integral(classes: int, scale: float, sigma: float) -> None:
    logits = scale * drawn(1, classes)
    for label in range(3):
        found = exact_log_probability(logits, torch.tensor([label]), sigma)
        torch.testing.assert_close(found[0], on_a_grid(logits[0], label, sigma), rtol=1e-7, atol=1e-9)


def test_it_is_the_share_of_draws() -> None:
    logits = torch.tensor([1.0, 0.5, -0.5, 0.3])
    noise = torch.randn(400_000, 4, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount((logits + noise).argmax(1), minlength=4) / len(noise)
    found = exact_log_probability(logits.expand(4, 4), torch.arange(4)).exp()
    torch.testing.assert_close(found, shares, rtol=0, atol=4 * 0.5 / len(noise) ** 0.5)


@pytest.mark.parametrize("sigma", [0.02, 1.0, 10.0])
def test_probabilities_sum_to_1_and_do_not_move_with_all_logits(sigma: float) -> None:
    logits, labels = drawn(1, 7).expand(7, 7), torch.arange(7)
    found = exact_log_probability(logits, labels, sigma).exp()
    torch.testing.assert_close(found.sum().item(), 1.0, rtol=0, atol=1e-9)
    torch.testing.assert_close(exact_log_probability(logits + 9, labels, sigma).exp(), found, rtol=0, atol=1e-11)


def test_of_two_classes_it_is_the_normal_distribution() -> None:
    gaps = torch.tensor([-30.0, -3.0, 0.0, 0.7, 4.0], dtype=torch.float64)
    logits = torch.stack([gaps, torch.zeros(5)], dim=1)
    expected = torch.special.log_ndtr(gaps / math.sqrt(2) / 1.5)
    found = exact_log_probability(logits, torch.zeros(5).long(), 1.5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert ExactLoss(1.5)(logits, torch.zeros(5).long()).item() == pytest.approx(1 - expected.exp().mean().item())
    assert ExactLoss(1.5, log=True)(logits, torch.zeros(5).long()).item() == pytest.approx(-expected.mean().item())


def test_of_equal_logits_it_is_one_of_their_number() -> None:
    for classes in (2, 10, 1000):
        found = exact_log_probability(torch.zeros(1, classes, dtype=torch.float64), torch.tensor([0]))
        assert found.item() == pytest.approx(-math.log(classes), abs=1e-6)


def test_without_noise_it_is_the_share_of_errors() -> None:
    logits, labels = drawn(50, 4), torch.arange(50) % 4
    errors = (logits.argmax(1) != labels).double().mean()
    torch.testing.assert_close(ExactLoss(1e-4)(logits, labels), errors, rtol=0, atol=1e-9)


def test_its_gradient_is_that_of_the_value() -> None:
    logits, labels = drawn(3, 4).requires_grad_(), torch.tensor([0, 3, 1])
    for log in (False, True):
        assert torch.autograd.gradcheck(lambda x, log=log: ExactLoss(0.7, log=log)(x, labels), logits, atol=1e-7)


def test_the_gradient_far_behind_is_right_in_fp32_where_torchs_is_not() -> None:
    x = torch.tensor([-5.0, -1e3, -1e4, -1e6])
    slopes = {}
    for name, function in (("ours", LogNormalCdf.apply), ("torch", torch.special.log_ndtr)):
        given = x.clone().requires_grad_()
        function(given).sum().backward()
        slopes[name] = given.grad
    exact = torch.tensor([5.18650, 1e3, 1e4, 1e6])
    torch.testing.assert_close(slopes["ours"], exact, rtol=1e-5, atol=0)
    logits = torch.tensor([[0.0, 1e4]], requires_grad=True)
    ExactLoss(log=True)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None and logits.grad[0, 0].item() == pytest.approx(-5e3, rel=1e-3)
    inputs = drawn(6).requires_grad_()
    assert torch.autograd.gradgradcheck(LogNormalCdf.apply, inputs)


def test_masked_classes_do_not_compete() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 0.2]], requires_grad=True)
    loss = ExactLoss()(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(ExactLoss()(torch.tensor([[1.0, 0.2]]), torch.tensor([0])).item(), abs=1e-6)
    assert logits.grad is not None and logits.grad[0, 1] == 0 and logits.grad.isfinite().all()


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("sigma", [0.01, 0.5, 1.0, 5.0])
@pytest.mark.parametrize("low", [-1e4, -1e19, -3e38, torch.finfo(torch.float32).min])
def test_a_label_far_behind_is_as_wrong_as_in_fp64(low: float, sigma: float, log: bool) -> None:
    row, label = torch.tensor([[low, 0.0, 1.0, 0.5, -1.0]]), torch.tensor([0])
    narrow, wide = row.clone().requires_grad_(), row.double().requires_grad_()
    found, exact = ExactLoss(sigma, log=log)(narrow, label), ExactLoss(sigma, log=log).double()(wide, label)
    torch.testing.assert_close(found, exact.float(), rtol=1e-6, atol=0)  # infinity, where fp32 has no such number
    found.backward()
    exact.backward()
    assert narrow.grad is not None and wide.grad is not None
    expected = wide.grad.float() if found.isfinite() else torch.zeros_like(row)
    torch.testing.assert_close(narrow.grad, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_settings_that_cannot_be_used_are_named() -> None:
    with pytest.raises(ValueError, match=r"sigma=0.0: give a finite number above 0"):
        ExactLoss(0.0)
    with pytest.raises(ValueError, match="nodes=0: give a whole number at least 1"):
        ExactLoss(nodes=0)


@pytest.mark.parametrize("gap", [-5.0, -8.0])
def test_a_label_with_hardly_a_chance_keeps_its_gradient_in_fp32(gap: float) -> None:
    """Two classes: the loss is ``Phi(-gap / sqrt 2 sigma)``, whose slope is a density; expm1's rounds to 0."""
    sigma = 0.5
    logits = torch.tensor([[gap, 0.0]], requires_grad=True)
    ExactLoss(sigma)(logits, torch.tensor([0])).backward()
    scale = math.sqrt(2) * sigma
    expected = -math.exp(-((gap / scale) ** 2) / 2) / math.sqrt(2 * math.pi) / scale
    assert logits.grad is not None and logits.grad[0, 0].item() == pytest.approx(expected, rel=1e-3, abs=0)
