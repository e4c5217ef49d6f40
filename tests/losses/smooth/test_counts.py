"""Smooth accuracy, precision, recall and F1: hard in the limit, without NaN where nothing is there."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from torch import Tensor

from nlpkit.losses import smooth_accuracy, smooth_f1, smooth_precision, smooth_recall

PAIRS = [(smooth_precision, precision_score), (smooth_recall, recall_score), (smooth_f1, f1_score)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("smooth", "hard"), PAIRS)
def test_of_decisions_they_are_the_hard_ones(smooth: object, hard: object) -> None:
    assert callable(smooth) and callable(hard)
    said, there = drawn(30, 4).round(), drawn(30, 4, seed=1).round()
    there[:, 3] = said[:, 3] = 0
    by_class = hard(there.numpy(), said.numpy(), average=None, zero_division=0)
    assert smooth(said, there, dim=0).tolist() == pytest.approx(by_class.tolist())
    micro = hard(there.numpy(), said.numpy(), average="micro")
    assert smooth(said, there).item() == pytest.approx(micro)


@pytest.mark.parametrize("smooth", [smooth for smooth, _ in PAIRS])
def test_gradients_masks_and_labels_of_minus_a_hundred(smooth: object) -> None:
    assert callable(smooth)
    said, there = drawn(6, 3).requires_grad_(), drawn(6, 3, seed=1).round()
    mask = drawn(6, 3, seed=2) > 0.3
    assert torch.autograd.gradcheck(lambda p: smooth(p, there, dim=0, mask=mask), (said,))
    masked = there.masked_fill(~mask, -100)
    assert torch.equal(smooth(said, there, mask=mask), smooth(said, masked))
    torch.testing.assert_close(smooth(said, masked), smooth(said[mask], there[mask]), rtol=0, atol=1e-12)
    nothing = smooth(said, torch.full_like(there, -100), dim=0)
    nothing.sum().backward()
    assert nothing.tolist() == [0.0] * 3
    assert said.grad is not None and not said.grad.nan_to_num(9.0).any()


def test_f1_has_the_gradient_that_its_surrogates_are_made_of() -> None:
    said, there = drawn(8).requires_grad_(), drawn(8, seed=1).round()
    found = smooth_f1(said, there)
    found.backward()
    expected = 2 * (there - found.detach() / 2) / (said.detach() + there).sum()
    torch.testing.assert_close(said.grad, expected, rtol=0, atol=1e-12)


def test_accuracy_is_hard_in_the_limit_and_its_gradient_right() -> None:
    logits, labels = 4 * drawn(3, 5, 4) - 2, (drawn(3, 5, seed=1) * 4).long()
    labels[0, :2] = -100
    kept = labels != -100
    hard = accuracy_score(labels[kept], logits.argmax(-1)[kept])
    assert smooth_accuracy(1e4 * logits, labels).item() == pytest.approx(hard)
    assert torch.autograd.gradcheck(lambda s: smooth_accuracy(s, labels), (logits.requires_grad_(),))
    assert smooth_accuracy(logits, torch.full_like(labels, -100)).item() == 0


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"labels of shape \(3,\) do not fit logits of shape \(2, 4\): give one class"
    ):
        smooth_accuracy(drawn(2, 4), torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) do not fit probabilities of shape \(2, 3\)"):
        smooth_f1(drawn(2, 3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\]: give logits through a sigmoid"):
        smooth_recall(drawn(2, 3) + 1, drawn(2, 3).round())
