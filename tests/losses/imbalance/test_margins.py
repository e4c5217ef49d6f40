"""Margins are log-odds of the label; labels and logits of the wrong kind are named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.losses import (
    DiceLoss,
    ExactLoss,
    F1WeightedLoss,
    FocalLoss,
    HardTruncationLoss,
    LogitAdjustedLoss,
    Loss,
    RowDiceLoss,
    SoftF1Loss,
    SoftTruncationLoss,
)
from nlpkit.losses.imbalance.margins import margins, top_margins
from tests.losses.test_loss import drawn

SOFTMAX: dict[str, Callable[[], Loss]] = {
    "focal": FocalLoss,
    "hard": HardTruncationLoss,
    "soft": SoftTruncationLoss,
    "adjusted": lambda: LogitAdjustedLoss([0.5, 0.3, 0.2]),
    "exact": ExactLoss,
    "dice": DiceLoss,
    "f1": SoftF1Loss,
}
CELLS: dict[str, Callable[[], Loss]] = {
    "focal": lambda: FocalLoss(multi_label=True),
    "hard": lambda: HardTruncationLoss(multi_label=True),
    "soft": lambda: SoftTruncationLoss(multi_label=True),
    "adjusted": lambda: LogitAdjustedLoss([0.5, 0.3, 0.2], multi_label=True),
    "f1-weighted": F1WeightedLoss,
    "dice": lambda: DiceLoss(multi_label=True),
    "row dice": lambda: RowDiceLoss(multi_label=True),
    "f1": lambda: SoftF1Loss(multi_label=True),
}
softmax = pytest.mark.parametrize("make", SOFTMAX.values(), ids=SOFTMAX)
cells = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)


@given(st.integers(1, 6), st.integers(2, 6), st.integers(0, 2**31))
def test_their_sigmoid_is_the_probability_of_the_label(items: int, classes: int, seed: int) -> None:
    logits = 4 * drawn(items, classes, seed=seed)
    labels = torch.arange(items) % classes
    chosen = logits.softmax(-1).gather(-1, labels[:, None]).squeeze(-1)
    torch.testing.assert_close(margins(logits, labels).sigmoid(), chosen, rtol=0, atol=1e-12)
    right = logits.argmax(-1) == labels
    assert torch.equal(top_margins(logits, labels) > 0, right)
    signed = margins(logits[:, 0], labels % 2, multi_label=True)
    assert torch.equal(signed, torch.where(labels % 2 == 1, logits[:, 0], -logits[:, 0]))


@softmax
def test_a_label_without_rivals_has_nothing_to_learn(make: Callable[[], Loss]) -> None:
    logits = torch.tensor([[1.0, -torch.inf, -torch.inf]], requires_grad=True)
    loss = make()(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and not logits.grad.isnan().any()


@pytest.mark.parametrize("make", [FocalLoss, SoftTruncationLoss, ExactLoss, DiceLoss], ids=str)
def test_one_class_is_always_right(make: Callable[[], Loss]) -> None:
    logits = torch.tensor([[2.0], [-3.0]], requires_grad=True)
    loss = make()(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


@softmax
def test_labels_that_are_no_class_indices_are_named(make: Callable[[], Loss]) -> None:
    with pytest.raises(ValueError, match=r"labels hold 3, but there are 3 classes: give 0 to 2, or -100"):
        make()(drawn(2, 3), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"labels hold -1, but there are 3 classes"):
        make()(drawn(2, 3), torch.tensor([-1, 0]))
    with pytest.raises(ValueError, match=r"there is a label for each logit.* set multi_label=True"):
        make()(drawn(2, 3), torch.tensor([[1, 0, 0], [0, 1, 0]]))
    with pytest.raises(ValueError, match=r"labels must be class indices \(torch.long\), not torch.float32"):
        make()(drawn(2, 3), torch.tensor([0.0, 1.0]))


@softmax
def test_probabilities_in_place_of_logits_are_told_where_they_are_certain(make: Callable[[], Loss]) -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"logits hold probabilities: all lie between 0 and 1 and each row sums to 1"):
        make()(drawn(2, 3).softmax(-1), labels)
    for logits in (torch.eye(3)[:2], torch.full((2, 3), 1 / 3), drawn(2, 3).sigmoid()):
        assert make()(logits, labels).isfinite()


@cells
def test_labels_that_are_no_cells_are_named(make: Callable[[], Loss]) -> None:
    with pytest.raises(ValueError, match=r"0 or 1 for each logit, and no class ind|needs several labels for a row"):
        make()(drawn(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"^labels hold 2: give 0 or 1 for each logit, or -100"):
        make()(drawn(1, 3), torch.tensor([[0, 2, 1]]))


@cells
def test_bool_int_and_float_cells_are_alike(make: Callable[[], Loss]) -> None:
    logits, truth = drawn(4, 3), drawn(4, 3, seed=1) > 0
    assert make()(logits, truth) == make()(logits, truth.long()) == make()(logits, truth.double())


@pytest.mark.parametrize("name", ["focal", "hard", "soft", "f1-weighted", "dice", "f1"])
def test_one_binary_label_for_a_row_may_have_a_dimension_or_none(name: str) -> None:
    make = CELLS[name]
    logits, labels = drawn(4, 1), torch.tensor([0, 1, 1, 0])
    if isinstance(make(), DiceLoss | SoftF1Loss):
        labels = labels[:, None]
        assert make()(logits, labels).isfinite()
    else:
        assert make()(logits, labels) == make()(logits, labels[:, None])


@softmax
def test_masks_are_labels_of_minus_100(make: Callable[[], Loss]) -> None:
    logits, labels = drawn(2, 4, 3), torch.tensor([[0, 1, 2, 1], [2, 1, 0, 0]])
    mask: Tensor = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1]])
    assert make()(logits, labels, mask=mask) == make()(logits, labels.masked_fill(mask == 0, -100))
    assert make()(logits, labels, mask=mask) != make()(logits, labels)


@cells
def test_masks_of_cells_are_labels_of_minus_100(make: Callable[[], Loss]) -> None:
    logits, labels = drawn(4, 3), torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 0]])
    assert make()(logits, labels, mask=mask) == make()(logits, labels.masked_fill(mask == 0, -100))
    assert make()(logits, labels, mask=mask) != make()(logits, labels)
