"""Dice and soft F1: one consistent fraction for each class, classes that are absent, and the post's derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from nlpkit.losses import BatchLoss, DiceLoss, RowDiceLoss, SoftF1Loss, smooth_f1
from nlpkit.losses.imbalance.dice import dice
from tests.losses.test_loss import drawn

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def sure(labels: Tensor, classes: int) -> Tensor:
    """Logits that predict these labels for certain."""
    return 1e3 * torch.nn.functional.one_hot(labels.clamp(min=0), classes).double()


@pytest.mark.parametrize(
    "loss", [DiceLoss(), DiceLoss(1.0), DiceLoss(absent="count"), SoftF1Loss(), SoftF1Loss("micro")]
)
@pytest.mark.parametrize("items", [1, 4, 64])
def test_perfect_predictions_have_no_loss_however_large_the_batch(loss: BatchLoss, items: int) -> None:
    labels = torch.arange(items) % 3
    labels[1:2] = -100
    assert loss(sure(labels, 3), labels).item() == pytest.approx(0, abs=1e-12)
    wrong = loss(sure((labels + 1) % 3, 3), labels).item()
    assert wrong > 0.3
    # Single items above a line that has the whole batch below: what is perfect is far from 0, more so in large ones.
    truth = torch.nn.functional.one_hot(torch.arange(items) % 3, 3).double()
    faulty = (1 - (2 * (truth * truth).sum(1) + 1) / (2 * truth.sum() + 1)).mean()
    assert items == 1 or faulty > 0.6


def test_decisions_give_the_f1_of_scikit_learn() -> None:
    labels = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(0))
    predicted = torch.where(drawn(50) > 0, labels, (labels + 1) % 4)
    truth, found = labels.numpy(), predicted.numpy()
    expected = {
        ("macro", None): f1_score(truth, found, average="macro"),
        ("micro", None): f1_score(truth, found, average="micro"),
        ("macro", 0): f1_score(truth, found, average="macro", labels=[1, 2, 3]),
        ("micro", 0): f1_score(truth, found, average="micro", labels=[1, 2, 3]),
    }
    for (average, leave_out), f1 in expected.items():
        loss = SoftF1Loss(average, leave_out=leave_out)  # type: ignore[arg-type]
        assert loss(sure(predicted, 4), labels).item() == pytest.approx(1 - f1, abs=1e-12)
    cells, hits = drawn(30, 3) > 0, drawn(30, 3, seed=1) > 0
    for average in ("macro", "micro"):
        f1 = f1_score(cells.numpy(), hits.numpy(), average=average)
        loss = SoftF1Loss(average, multi_label=True)  # type: ignore[arg-type]
        assert loss(torch.where(hits, 1e3, -1e3), cells).item() == pytest.approx(1 - f1, abs=1e-6)


def test_the_derivative_is_the_posts() -> None:
    targets = (drawn(20, 3) > 0).double()
    probabilities = drawn(20, 3, seed=1).sigmoid().requires_grad_()
    f1 = smooth_f1(probabilities, targets, dim=0)
    (found,) = torch.autograd.grad(f1.sum(), probabilities)
    torch.testing.assert_close(found, 2 * (targets - f1 / 2) / (targets + probabilities).sum(0), **EXACT)


def test_f1_of_small_batches_is_too_small_on_average() -> None:
    targets = (torch.rand(4096, 1, generator=torch.Generator().manual_seed(0)) < 0.1).double()
    chances = (drawn(4096, 1) + 2 * targets - 2).sigmoid()
    means = [
        torch.stack([smooth_f1(*pair) for pair in zip(chances.split(size), targets.split(size), strict=True)]).mean()
        for size in (4, 16, 64, 4096)
    ]
    assert means == sorted(means) and means[0] < 0.7 * means[-1]


def test_absent_classes_are_left_out_or_counted_for_what_they_are_given() -> None:
    logits, labels = drawn(5, 3), torch.tensor([0, 1, 1, 0, 0])
    p = logits.softmax(-1)
    y = torch.nn.functional.one_hot(labels, 3)
    each = 1 - (2 * (p * y).sum(0) + 0.5) / ((p + y).sum(0) + 0.5)
    torch.testing.assert_close(DiceLoss(smoothing=0.5)(logits, labels), each[:2].mean(), **EXACT)
    torch.testing.assert_close(DiceLoss(smoothing=0.5, absent="count")(logits, labels), each.mean(), **EXACT)
    empty = SoftF1Loss(leave_out=1)(logits.requires_grad_(), torch.ones(5).long())
    empty.backward()
    assert empty.item() == 0 and logits.grad is not None and logits.grad.isfinite().all()


def test_without_weights_and_nearly_without_smoothing_it_is_soft_f1() -> None:
    logits, labels = drawn(7, 3), torch.tensor([0, 1, 1, 0, 2, -100, 1])
    torch.testing.assert_close(DiceLoss(smoothing=1e-12)(logits, labels), SoftF1Loss()(logits, labels), **EXACT)


def test_weights_keep_the_surest_prediction_best() -> None:
    chances = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    truth = torch.ones(1, 1, dtype=torch.float64)
    ours = torch.stack([dice(p.view(1, 1), truth, 1.0, 1.0, "skip") for p in chances])
    assert ours.argmin() == 99 and ours[-1] == 0
    papers = 1 - (2 * (1 - chances) * chances + 1) / ((1 - chances) * chances + 2)  # the factor on p alone
    assert chances[papers.argmin()].item() == pytest.approx(0.5, abs=0.01)
    logits = drawn(6, 3).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    (slope,) = torch.autograd.grad(DiceLoss(1.0)(logits, labels), logits)
    assert (slope.gather(-1, labels[:, None]) < 0).all()


def test_rows_do_not_depend_on_each_other() -> None:
    logits, labels = drawn(3, 5, 4), torch.tensor([[0, 1, 1, -100, 2], [3, 3, 0, 0, -100], [-100] * 5])
    loss = RowDiceLoss(1.0)
    rows = [DiceLoss(1.0)(logits[n], labels[n]) for n in range(2)]
    torch.testing.assert_close(loss(logits, labels), (rows[0] + rows[1]) / 2, **EXACT)
    assert loss.items(labels) == 2 and loss.scope == "row"
    halves = sum(loss.average(logits[n : n + 1], labels[n : n + 1], 2) for n in range(3))
    torch.testing.assert_close(halves, loss(logits, labels), **EXACT)
    cells = (drawn(3, 4) > 0).long()
    cells[0, 0] = -100
    expected = torch.stack(
        [DiceLoss(multi_label=True)(logits[n, 0][:, None], cells[n][:, None]) for n in range(3)]
    ).mean()  # fmt: skip
    torch.testing.assert_close(RowDiceLoss(multi_label=True)(logits[:, 0], cells), expected, **EXACT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiceLoss(-1.0), "alpha=-1.0: give a finite number at least 0"),
        (lambda: DiceLoss(smoothing=0.0), "smoothing=0.0: give a finite number above 0"),
        (lambda: RowDiceLoss(absent="drop"), "absent='drop': give 'skip' or 'count'"),  # type: ignore[arg-type]
        (lambda: SoftF1Loss("weighted"), "average='weighted': give 'macro' or 'micro'"),  # type: ignore[arg-type]
        (lambda: SoftF1Loss(leave_out=3)(drawn(2, 3), torch.tensor([0, 1])), "leave_out is 3, which is none of 3"),
        (lambda: RowDiceLoss()(drawn(2, 3), torch.tensor([0, 1])), r"of shape \(2,\), and RowDiceLoss needs"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
