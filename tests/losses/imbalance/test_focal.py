"""Focal and truncated losses: identities, and gradients where probabilities round to 1."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, FocalLoss, HardTruncationLoss, SoftTruncationLoss
from tests.losses.test_loss import drawn

LOGITS, LABELS = 3 * drawn(6, 4), torch.tensor([0, 1, 2, 3, -100, 1])
CELLS = (drawn(6, 4, seed=1) > 0).long()
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def gradient(loss: Any, logits: Tensor, labels: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    loss(logits, labels).backward()
    assert logits.grad is not None
    return logits.grad


def test_gamma_0_is_cross_entropy() -> None:
    torch.testing.assert_close(FocalLoss(0.0)(LOGITS, LABELS), CrossEntropyLoss()(LOGITS, LABELS), **EXACT)
    focal = FocalLoss(0.0, multi_label=True)(LOGITS, CELLS)
    torch.testing.assert_close(focal, BinaryCrossEntropyLoss()(LOGITS, CELLS), **EXACT)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_it_is_the_papers_formula(gamma: float) -> None:
    known = LABELS != -100
    p = LOGITS.softmax(-1)[known].gather(-1, LABELS[known, None]).squeeze(-1)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    expected = (weights[LABELS[known]] * (1 - p) ** gamma * -p.log()).mean()
    torch.testing.assert_close(FocalLoss(gamma, weights)(LOGITS, LABELS), expected, **EXACT)
    p = torch.where(CELLS == 1, LOGITS.sigmoid(), 1 - LOGITS.sigmoid())
    weights = torch.where(CELLS == 1, 0.25, 0.75)
    expected = (weights * (1 - p) ** gamma * -p.log()).mean()
    torch.testing.assert_close(FocalLoss(gamma, 0.25, multi_label=True)(LOGITS, CELLS), expected, rtol=0, atol=1e-9)


def test_two_classes_are_the_binary_case() -> None:
    logits, labels = LOGITS[:, :2], torch.tensor([0, 1, 1, 0, 1, 0])
    for loss in (FocalLoss, SoftTruncationLoss, HardTruncationLoss):
        two, one = loss()(logits, labels), loss(multi_label=True)(logits[:, 1] - logits[:, 0], labels)
        torch.testing.assert_close(two, one, **EXACT)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients_are_right_where_the_probability_rounds_to_1(gamma: float) -> None:
    logits, labels = torch.tensor([[18.0]]), torch.tensor([[1]])
    loss = FocalLoss(gamma, multi_label=True)
    exact = gradient(loss, logits.double(), labels).item()
    assert exact < 0
    assert gradient(loss, logits, labels).item() == pytest.approx(exact, rel=1e-6)
    two = torch.tensor([[0.0, 18.0]])
    assert gradient(FocalLoss(gamma), two, torch.tensor([1]))[0, 1].item() == pytest.approx(exact, rel=1e-6)

    x = logits.clone().requires_grad_()  # what others do: from a rounded probability
    p = x.sigmoid()
    ((1 - p) ** gamma * torch.nn.functional.softplus(-x)).sum().backward()
    assert x.grad is not None and (x.grad.isnan() if gamma < 1 else x.grad == 0).all()


def test_soft_truncation_of_sharpness_1_is_focal_of_gamma_1() -> None:
    one, other = SoftTruncationLoss(1.0), FocalLoss(1.0)
    torch.testing.assert_close(one(LOGITS, LABELS), other(LOGITS, LABELS), rtol=0, atol=1e-15)
    torch.testing.assert_close(gradient(one, LOGITS, LABELS), gradient(other, LOGITS, LABELS), rtol=0, atol=1e-15)


def test_sharp_truncation_is_nearly_hard_where_margins_are_clear() -> None:
    logits = torch.tensor([[3.0, -3.0, 2.0]], dtype=torch.float64)
    cells = torch.tensor([[1, 1, 0]])
    hard = HardTruncationLoss(multi_label=True)(logits, cells)
    torch.testing.assert_close(SoftTruncationLoss(50.0, multi_label=True)(logits, cells), hard, **EXACT)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_hard_truncation_is_cross_entropy_of_mistakes(margin: float) -> None:
    labels = LOGITS.argmax(-1)
    labels[:2] = LOGITS[:2].argmin(-1)
    losses = torch.nn.functional.cross_entropy(LOGITS, labels, reduction="none")
    two = LOGITS.topk(2).values
    kept = (LOGITS.argmax(-1) != labels) | (two[:, 0] - two[:, 1] <= margin)
    assert kept.any() and not kept.all()
    expected = losses[kept].sum() / len(labels)
    torch.testing.assert_close(HardTruncationLoss(margin)(LOGITS, labels), expected, **EXACT)
    assert HardTruncationLoss()(torch.zeros(1, 2), torch.tensor([0])).item() > 0  # a tie is no answer yet


def test_weights_are_buffers() -> None:
    loss = FocalLoss(alpha=[0.1, 0.9])
    assert loss.state_dict().keys() == {"alpha"}
    assert not list(loss.parameters())
    again = FocalLoss(alpha=[0.5, 0.5])
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again.alpha, loss.alpha)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0, 100.0])
@pytest.mark.parametrize("low", [-100.0, -1e19, torch.finfo(torch.float32).min])
def test_far_behind_the_slope_is_that_of_cross_entropy(low: float, gamma: float) -> None:
    logits, other = (torch.tensor([[low, 0.0, 1.0]]).requires_grad_() for _ in range(2))
    FocalLoss(gamma)(logits, torch.tensor([0])).backward()
    FocalLoss(0.0)(other, torch.tensor([0])).backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_a_class_that_weighs_nothing_is_nothing_where_it_cannot_be() -> None:
    for loss in (FocalLoss(alpha=[0.0, 1.0]), CrossEntropyLoss(class_weights=[0.0, 1.0])):
        logits = torch.tensor([[-torch.inf, 0.0], [0.0, 0.0]]).requires_grad_()
        value = loss(logits, torch.tensor([0, 1]))
        value.backward()
        assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(-1.0), "gamma=-1.0: give a finite number at least 0"),
        (lambda: FocalLoss(float("nan")), "gamma=nan"),
        (lambda: FocalLoss(alpha=0.25), r"alpha is of shape \(\), which tells no classes apart"),
        (lambda: FocalLoss(alpha=[0.1, -1.0]), "give finite weights >= 0"),
        (lambda: FocalLoss(alpha=[0.1, 0.2], multi_label=True), "with multi_label=True alpha is one number"),
        (lambda: FocalLoss(alpha=1.5, multi_label=True), "alpha=1.5: give a finite number at least 0 and at most 1"),
        (lambda: FocalLoss(alpha=[1, 1, 1])(LOGITS, LABELS), "alpha has 3 weights, but logits are for 4 classes"),
        (lambda: SoftTruncationLoss(0.0), "sharpness=0.0: give a finite number above 0"),
    ],
)
def test_settings_that_cannot_be_used_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
