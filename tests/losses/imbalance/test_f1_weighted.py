"""Cross-entropy with the weights of F1: which weights, and from when."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nlpkit.losses import BinaryCrossEntropyLoss, F1WeightedLoss, smooth_f1
from tests.losses.test_loss import drawn

LOGITS, CELLS = drawn(12, 3), (drawn(12, 3, seed=1) > 0.5).long()


def test_it_begins_as_half_of_cross_entropy() -> None:
    first = F1WeightedLoss().double()(LOGITS, CELLS)
    torch.testing.assert_close(first, BinaryCrossEntropyLoss()(LOGITS, CELLS) / 2, rtol=0, atol=1e-12)


def test_weights_are_those_of_the_soft_f1_of_steps_that_are_done() -> None:
    loss = F1WeightedLoss(momentum=0.0).double()
    loss(LOGITS, CELLS)
    found = loss(LOGITS, CELLS)
    f1 = smooth_f1(LOGITS.sigmoid(), CELLS)
    assert loss.f1.item() == pytest.approx(f1.item(), abs=1e-12)
    y = CELLS.double()
    expected = (1 - f1 / 2) * y * F.softplus(-LOGITS) + f1 / 2 * (1 - y) * F.softplus(LOGITS)
    torch.testing.assert_close(found, expected.mean(), rtol=0, atol=1e-12)


def test_the_gradient_has_the_direction_of_f1() -> None:
    """By a probability: the slope of cross-entropy is 1 / p, or 1 / (1 - p), times the weights that F1 has."""
    logits = LOGITS.clone().requires_grad_()
    loss = F1WeightedLoss(momentum=0.0).double()
    loss(LOGITS, CELLS)
    (found,) = torch.autograd.grad(loss(logits, CELLS), logits)
    p, y = LOGITS.sigmoid(), CELLS.double()
    f1 = loss.f1
    own = 2 * (y - f1 / 2) / (y + p).sum()  # the derivative of F1 by p
    chance = torch.where(CELLS == 1, p, 1 - p)
    expected = -own * (y + p).sum() / 2 / chance * p * (1 - p) / CELLS.numel()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_parts_of_a_step_have_the_weights_of_the_whole() -> None:
    whole, parts = F1WeightedLoss().double(), F1WeightedLoss().double()
    for seed in range(3):
        logits = drawn(12, 3, seed=seed)
        items = torch.tensor(CELLS.numel())
        pieces = zip(logits.split(4), CELLS.split(4), strict=True)
        total = sum(parts(one, other, num_items_in_batch=items) for one, other in pieces)
        torch.testing.assert_close(total, whole(logits, CELLS, num_items_in_batch=items.clone()), rtol=0, atol=1e-12)
    assert whole.f1 < 1


def test_evaluation_leaves_the_weights() -> None:
    loss = F1WeightedLoss()
    loss(LOGITS, CELLS)
    loss(LOGITS, CELLS)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    with torch.no_grad():
        loss(LOGITS, 1 - CELLS)
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_without_positives_and_at_extremes_it_stays_finite() -> None:
    loss = F1WeightedLoss()
    for logits in (torch.full((2, 2), 1e4), torch.full((2, 2), -1e4)):
        for cells in (torch.zeros(2, 2).long(), torch.ones(2, 2).long(), torch.full((2, 2), -100)):
            assert loss(logits, cells).isfinite() and loss.f1.isfinite()
    with pytest.raises(ValueError, match=r"momentum=1.0: give a finite number at least 0 and below 1"):
        F1WeightedLoss(1.0)
