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
