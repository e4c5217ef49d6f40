"""Losses as sums over items: against torch's own, against a loop over items, and at their edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    FunctionLoss,
    Loss,
    NonContrastiveLoss,
    RowDiceLoss,
    SpanLoss,
    SquaredErrorLoss,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def token_labels() -> Tensor:
    return torch.tensor([[0, -100, 2, 1], [-100, 3, -100, -100]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shift", [False, True])
def test_cross_entropy_is_torchs_mean_over_labels(shift: bool, smoothing: float) -> None:
    logits, labels = drawn(2, 4, 5), token_labels()
    one, other = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
    expected = F.cross_entropy(one.flatten(0, 1), other.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropyLoss(shift, smoothing)(logits, labels), expected, rtol=0, atol=1e-12)


def test_other_heads_are_torchs_means() -> None:
    logits, targets = drawn(3, 4), (drawn(3, 4, seed=1) > 0).double()
    exact: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(BinaryCrossEntropyLoss()(logits, targets), expected, **exact)
    torch.testing.assert_close(SquaredErrorLoss()(logits, targets), F.mse_loss(logits, targets), **exact)
    torch.testing.assert_close(
        SquaredErrorLoss()(logits[:, :1], targets[:, 0]), F.mse_loss(logits[:, 0], targets[:, 0])
    )
    starts, ends = torch.tensor([0, 3, 9]), torch.tensor([1, 2, 9])
    spans = SpanLoss()
    batch = {"input_ids": torch.zeros(3, 4), "start_positions": starts, "end_positions": ends}
    found = spans({"start_logits": logits, "end_logits": targets}, spans.labels_of(batch))
    expected = (F.cross_entropy(logits[:2], starts[:2]) + F.cross_entropy(targets[:2], ends[:2])) / 2
    torch.testing.assert_close(found, expected, **exact)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shift", [False, True])
def test_weights_of_classes_are_torchs(shift: bool, smoothing: float) -> None:
    weights = torch.tensor([0.01, 2.0, 0.5, 0.0, 30.0], dtype=torch.float64)
    logits, labels = drawn(2, 4, 5), token_labels()
    one, other = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
    for given_labels, taken in ((labels, other), (labels.clamp(max=0), other.clamp(max=0))):  # weights of 0.01 alone
        found, expected = (part.clone().requires_grad_() for part in (logits, one))
        torchs = F.cross_entropy(expected.flatten(0, 1), taken.flatten(), weights, label_smoothing=smoothing)
        ours = CrossEntropyLoss(shift, smoothing, class_weights=weights)(found, given_labels)
        torch.testing.assert_close(ours, torchs, rtol=1e-14, atol=0)
        ours.backward()
        torchs.backward()
        assert found.grad is not None and expected.grad is not None
        slope = found.grad[:, :-1] if shift else found.grad
        torch.testing.assert_close(slope, expected.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("weights", [None, [0.01, 0.02, 3.0]])
def test_values_by_their_weights_are_losses_in_units_of_the_mean(weights: list[float] | None) -> None:
    loss, plain, logits = CrossEntropyLoss(class_weights=weights), CrossEntropyLoss(), drawn(6, 3)
    chosen = loss.items_in(logits, torch.tensor([0, 1, -100, 2, 1, 0]))
    counted = loss.item_weights(chosen[1])
    torch.testing.assert_close(loss.values(*chosen) / counted, plain.values(*chosen), rtol=1e-6, atol=0)
    torch.testing.assert_close(counted.sum(), loss.items(chosen[1]).to(counted.dtype))


def test_parts_of_a_weighted_step_add_up_by_their_weights() -> None:
    loss, logits, labels = CrossEntropyLoss(class_weights=[0.01, 0.02, 3.0]), drawn(6, 3), torch.arange(6) % 3
    mask = torch.tensor([True, True, False, True, True, True])
    items = loss.items(labels[:4], mask[:4]) + loss.items(labels[4:])
    parts = [loss.average(logits[:4], labels[:4], items, mask[:4]), loss.average(logits[4:], labels[4:], items)]
    torch.testing.assert_close(sum(parts), loss(logits, labels, mask=mask), rtol=0, atol=1e-7)  # weights are in fp32
    assert loss(logits, torch.full((6,), -100)) == 0
    assert CrossEntropyLoss(class_weights=[0.0, 1.0, 1.0])(logits, torch.zeros(6).long()) == 0
    with pytest.raises(ValueError, match=r"num_items_in_batch counts labels: give the loss to TechniqueTrainer"):
        loss(logits, labels, num_items_in_batch=6)
    with pytest.raises(ValueError, match=r"class_weights has 3 weights, but logits are for 5 classes"):
        loss(drawn(6, 5), labels)
    with pytest.raises(ValueError, match=r"labels hold 3, but class_weights is for 3 classes"):
        loss.items(torch.tensor([3]))
    for wrong, message in ((2.0, r"is of shape \(\), which tells no"), ([1.0, -1.0], r"give finite weights >= 0")):
        with pytest.raises(ValueError, match=f"class_weights .*{message}"):
            CrossEntropyLoss(class_weights=wrong)


@pytest.mark.parametrize("weights", [3.0, [0.5, 2.0, 7.0, 0.0]])
def test_weights_of_positives_are_torchs(weights: Any) -> None:
    logits, targets = drawn(5, 4), drawn(5, 4, seed=1).sigmoid()
    targets[0] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    exact = torch.as_tensor(weights, dtype=torch.float64)
    every = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=exact, reduction="none")
    loss = BinaryCrossEntropyLoss(pos_weight=exact)
    torch.testing.assert_close(loss(logits, targets), every.mean(), rtol=0, atol=1e-14)
    known = drawn(5, 4, seed=2) > 0
    torch.testing.assert_close(
        loss(logits, targets.masked_fill(~known, -100)), every[known].mean(), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(loss(logits, targets, mask=known), every[known].mean(), rtol=0, atol=1e-14)
    half = BinaryCrossEntropyLoss(pos_weight=weights)(logits[:2], targets[:2], num_items_in_batch=20)
    torch.testing.assert_close(half, every[:2].sum() / 20, rtol=0, atol=1e-14)


def test_weights_of_positives_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"pos_weight has 3 weights, but labels are of shape \(5, 4\): give"):
        BinaryCrossEntropyLoss(pos_weight=[1.0, 2.0, 3.0])(drawn(5, 4), torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"pos_weight is \[-1.0\]; give finite weights >= 0"):
        BinaryCrossEntropyLoss(pos_weight=-1.0)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_parts_of_a_step_add_up_to_the_whole(rows: int, parts: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows * parts, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 4, (rows * parts, 3), generator=generator).masked_fill_(
        torch.rand(rows * parts, 3, generator=generator) < 0.4, -100
    )
    labels[labels == -1] = -100
    loss = CrossEntropyLoss()
    items = loss.items(labels).clamp(min=1)
    pieces = zip(logits.chunk(parts), labels.chunk(parts), strict=True)
    total = sum(loss(one, other, num_items_in_batch=items) for one, other in pieces)
    torch.testing.assert_close(total, loss(logits, labels), rtol=0, atol=1e-12)


def test_a_mask_leaves_items_out() -> None:
    logits, labels = drawn(2, 4, 5), torch.tensor([[0, 1, 2, 1], [4, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1]])
    masked = labels.masked_fill(mask == 0, -100)
    for loss in (CrossEntropyLoss(), CrossEntropyLoss(shift=True)):
        assert torch.equal(loss(logits, labels, mask=mask), loss(logits, masked))
        assert loss.items(labels, mask) == loss.items(masked)


def test_without_labels_the_loss_is_nothing_and_passes_no_gradient() -> None:
    logits = drawn(2, 4, 5).requires_grad_()
    loss = CrossEntropyLoss()(logits, torch.full((2, 4), -100))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite_in_every_precision(dtype: torch.dtype) -> None:
    logits = torch.tensor([[6e4, -6e4, 0.0], [0.0, 1.0, 2.0]], dtype=dtype, requires_grad=True)
    loss = CrossEntropyLoss()(logits, torch.tensor([1, 2]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"CrossEntropyLoss: logits of shape \(2, 3, 5\) do not fit .* \(2, 4\)"):
        CrossEntropyLoss()(drawn(2, 3, 5), token_labels())
    with pytest.raises(ValueError, match="takes no mask"):
        FunctionLoss(lambda *_, **__: torch.tensor(0.0))(drawn(2, 3), torch.zeros(2), mask=torch.ones(2))
    with pytest.raises(NotImplementedError, match=r"Loss must define values"):
        Loss()(drawn(2, 3), torch.zeros(2).long())


def test_logits_of_labelled_positions_alone_are_taken_as_they_come() -> None:
    logits, labels = drawn(2, 4, 5), token_labels()
    assert torch.equal(CrossEntropyLoss()(logits[labels != -100], labels), CrossEntropyLoss()(logits, labels))


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (
            RowDiceLoss(),
            torch.zeros(2, 3).long(),
            r"RowDiceLoss averages over rows, and num_items_in_batch counts tokens",
        ),
        (
            NonContrastiveLoss(torch.nn.Identity()),
            torch.tensor([0, 0, 1]),
            r"averages over texts that have another view, and num_items_in_batch counts all that have a label",
        ),
        (SpanLoss(), None, r"SpanLoss has its labels in start_positions and end_positions, and Trainer\(compute_loss"),
    ],
    ids=["row dice", "views", "spans"],
)
def test_what_a_plain_trainer_counts_otherwise_is_refused(loss: Loss, labels: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(drawn(*(labels.shape if labels is not None else (2,)), 4), labels, num_items_in_batch=torch.tensor(9))


def test_what_a_plain_trainer_counts_right_is_right() -> None:
    embeddings, labels = drawn(4, 3), torch.tensor([5, 6, 6, 5])
    loss = NonContrastiveLoss(torch.nn.Identity())
    torch.testing.assert_close(loss(embeddings, labels, num_items_in_batch=4), loss(embeddings, labels))
    cells = torch.tensor([[0, 1, 1], [1, 0, 0]])
    rows = RowDiceLoss(multi_label=True)
    torch.testing.assert_close(rows(drawn(2, 3), cells, num_items_in_batch=6), rows(drawn(2, 3), cells))
