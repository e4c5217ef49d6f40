"""ZLPR of label matrices: its formula, its optimum, its identities, masks, precision, and what is refused."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import ZLPRLoss, sparse_zlpr, zlpr, zlpr_probabilities
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS

EXACT = {"rtol": 0, "atol": 1e-12}


def drawn(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shares(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def published(logits: Tensor, labels: Tensor) -> Tensor:
    """The two sums as they are written."""
    absent = ((1 - labels) * logits.exp()).sum(dim=-1)
    return torch.log1p(absent) + torch.log1p((labels * (-logits).exp()).sum(dim=-1))


@given(st.integers(1, 4), st.integers(1, 6), st.booleans(), st.integers(0, 2**31))
def test_it_is_the_published_formula(rows: int, classes: int, hard: bool, seed: int) -> None:
    logits, labels = drawn(rows, classes, seed=seed), shares(rows, classes, seed=seed)
    labels = labels.round() if hard else labels
    torch.testing.assert_close(zlpr(logits, labels), published(logits, labels), **EXACT)


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_masked_classes_are_as_if_they_were_not_there(classes: int, seed: int) -> None:
    logits, labels = drawn(3, classes, seed=seed), shares(3, classes, seed=seed).round()
    more = torch.full((3, 2), 50.0, dtype=torch.float64, requires_grad=True)
    wide = torch.cat([logits, more], dim=1)
    found = zlpr(wide, F.pad(labels, (0, 2), value=-100.0))
    torch.testing.assert_close(found, zlpr(logits, labels), **EXACT)
    found.sum().backward()
    assert more.grad is not None and not more.grad.any()


@pytest.mark.parametrize("label", [0.0, 0.3, -100.0])
def test_a_logit_of_minus_infinity_leaves_a_class_out_with_soft_labels_too(label: float) -> None:
    logits = drawn(1, 4).index_fill(1, torch.tensor([2]), -torch.inf).requires_grad_()
    labels = torch.tensor([[1.0, 0.2, label, 0.0]]).double()
    loss = zlpr(logits, labels)
    loss.backward()
    kept = [0, 1, 3]
    torch.testing.assert_close(loss, published(logits[:, kept], labels[:, kept]), **EXACT)
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad[0, 2] == 0


def test_scale_margin_and_threshold_move_the_scores() -> None:
    logits, labels = drawn(3, 5), shares(3, 5).round()
    found = zlpr(logits, labels, gamma=2.0, margin=0.5, threshold=0.3)
    absent = ((1 - labels) * (2 * (logits - 0.3 + 0.5)).exp()).sum(-1)
    present = (labels * (-2 * (logits - 0.3 - 0.5)).exp()).sum(-1)
    torch.testing.assert_close(found, absent.log1p() + present.log1p(), **EXACT)
    with_threshold_class = (
        torch.log(torch.tensor(0.3).double().exp() + ((1 - labels) * logits.exp()).sum(-1))
        + torch.log(torch.tensor(-0.3).double().exp() + (labels * (-logits).exp()).sum(-1))
    )  # fmt: skip
    torch.testing.assert_close(zlpr(logits, labels, threshold=0.3), with_threshold_class, rtol=0, atol=1e-7)


def test_the_optimum_has_the_labels_for_probabilities_of_twice_the_logits() -> None:
    labels = torch.tensor([[0.02, 0.2, 0.5, 0.7, 0.95]]).double()
    logits = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn=None
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = zlpr(logits, labels).sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(zlpr_probabilities(logits.detach()), labels, rtol=0, atol=1e-8)
    smallest = 2 * torch.log1p((labels * (1 - labels)).sqrt().sum())
    torch.testing.assert_close(zlpr(logits.detach(), labels)[0], smallest, rtol=0, atol=1e-12)
    assert (logits.detach().sigmoid() - labels).abs().max() > 0.1  # the sigmoid of a stock pipeline is another number
    scaled = logits.detach() / 3 + 0.5
    torch.testing.assert_close(zlpr_probabilities(scaled, gamma=3.0, threshold=0.5), labels, rtol=0, atol=1e-8)


@given(st.integers(1, 8), st.integers(0, 2**31))
def test_it_never_exceeds_the_sum_of_sigmoid_cross_entropies(classes: int, seed: int) -> None:
    logits, labels = drawn(4, classes, seed=seed, scale=5.0), shares(4, classes, seed=seed).round()
    sigmoid = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(-1)
    assert (zlpr(logits, labels) <= sigmoid + 1e-12).all()


def test_one_class_is_the_sigmoid_cross_entropy() -> None:
    logits, labels = drawn(6, 1), shares(6, 1).round()
    expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(-1)
    torch.testing.assert_close(zlpr(logits, labels), expected, **EXACT)


def test_rows_without_and_with_all_classes() -> None:
    logits = torch.zeros(2, 3, dtype=torch.float64)
    found = zlpr(logits, torch.tensor([[0, 0, 0], [1, 1, 1]]))
    torch.testing.assert_close(found, torch.full((2,), log(4.0), dtype=torch.float64), **EXACT)


def test_the_gradient_is_that_of_the_value() -> None:
    logits = drawn(2, 3, 4).requires_grad_()
    labels = shares(2, 3, 4).masked_fill(shares(2, 3, 4, seed=5) < 0.2, -100.0)
    threshold = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, t: zlpr(s, labels, gamma=1.5, margin=0.1, threshold=t), (logits, threshold)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("logit", [15.0, 20.0, 100.0, 6e4])
def test_extreme_logits_keep_value_and_gradient(logit: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[logit, logit, 0.0, -logit]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 1]])
    wide = logits.detach().double().requires_grad_()
    found, exact = zlpr(logits, labels), zlpr(wide, labels)
    found.backward()
    exact.backward()
    assert found.dtype == torch.float32 and logits.grad is not None and wide.grad is not None
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=1e-2, atol=1e-7)


def test_a_loss_below_the_precision_of_one_is_not_rounded_to_nothing() -> None:
    loss = zlpr(torch.tensor([[40.0, -40.0]]), torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(2 * 4.248354255291589e-18, rel=1e-6)


def test_an_item_is_a_row_and_the_plain_trainers_count_of_cells_becomes_rows() -> None:
    logits, labels = drawn(4, 3), shares(4, 3).round()
    labels[1] = -100
    labels[2, 0] = -100
    loss = ZLPRLoss()
    assert loss.items(labels) == 3
    kept = [0, 2, 3]
    torch.testing.assert_close(loss(logits, labels), zlpr(logits[kept], labels[kept]).mean(), **EXACT)
    whole = labels[[0, 3]]
    cells = (whole != -100).sum()
    expected = zlpr(logits[[0, 3]], whole).mean()
    torch.testing.assert_close(loss(logits[[0, 3]], whole, num_items_in_batch=cells), expected, **EXACT)


def test_tokens_may_have_many_classes_each() -> None:
    logits, labels = drawn(2, 4, 3), shares(2, 4, 3).round()
    labels[0, 2:] = -100
    expected = torch.cat([zlpr(logits[0, :2], labels[0, :2]), zlpr(logits[1], labels[1])]).mean()
    torch.testing.assert_close(ZLPRLoss()(logits, labels), expected, **EXACT)


@pytest.mark.parametrize("rows", [3, 4])
def test_a_mask_leaves_out_rows_or_cells_and_is_what_minus_a_hundred_is(rows: int) -> None:
    logits, labels, loss = drawn(rows, 3), shares(rows, 3).round(), ZLPRLoss()
    cells = shares(rows, 3, seed=9) > 0.4
    cells[0] = False
    of_rows = cells.any(dim=-1)
    masked = labels.masked_fill(~cells, -100)
    assert torch.equal(loss(logits, labels, mask=cells), loss(logits, masked))
    assert loss.items(labels, cells) == loss.items(masked) == of_rows.sum()
    assert torch.equal(loss(logits, labels, mask=of_rows), loss(logits[of_rows], labels[of_rows]))


def test_a_learned_threshold_begins_at_nothing_and_shifts_all_logits() -> None:
    loss = ZLPRLoss(threshold="learned")
    logits, labels = drawn(3, 4).requires_grad_(), shares(3, 4).round()
    torch.testing.assert_close(loss(logits, labels), ZLPRLoss()(logits, labels), **EXACT)
    loss(logits, labels).backward()
    (threshold,) = loss.parameters()
    assert threshold.grad is not None and logits.grad is not None
    torch.testing.assert_close(threshold.grad.double(), -logits.grad.sum(), rtol=0, atol=1e-6)


def test_a_learned_threshold_is_trained_however_a_step_is_cut() -> None:
    case, found = next(case for case in HEADS if case.name == "multi-label"), []
    for batch_size, accumulation in ((8, 1), (3, 3)):
        loss = ZLPRLoss(threshold="learned").double()
        gradient(case, batch_size, accumulation, "ours", {"loss": loss})
        found.append(next(loss.parameters()).item())
    assert abs(found[0]) > 1e-2
    assert found[1] == pytest.approx(found[0], abs=1e-10)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 2]), r"labels of shape \(2,\) \(torch.int64\) do not fit logits of shape \(2, 3\): give a"),
        (torch.tensor([[0, -100]] * 2), r"shape \(2, 2\).*one_hot\(labels, 3\), or, padded with -100, go to Sparse"),
        (torch.tensor([[0, 2, -100]] * 2), r"labels hold 2: give a number in \[0, 1\] for each class"),
        (torch.tensor([[0.0, 1.5, 0.0]] * 2), r"labels hold 1.5: "),
        (torch.tensor([[0.0, torch.nan, 0.0]] * 2), r"labels hold nan: "),
    ],
)
def test_labels_that_are_no_shares_are_refused(labels: Tensor, message: str) -> None:
    for function in (zlpr, ZLPRLoss()):
        with pytest.raises(ValueError, match=message):
            function(drawn(2, 3), labels)


def test_other_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="a class applies whose logit is -inf"):
        zlpr(torch.tensor([[-torch.inf, 0.0]]), torch.tensor([[1, 0]]))
    with pytest.raises(ValueError, match=r"gamma=0: give a finite number above 0"):
        ZLPRLoss(gamma=0)
    with pytest.raises(ValueError, match=r"threshold=0.5 must be None, which is 0, or \"learned\""):
        ZLPRLoss(threshold=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [1.0, 3.0])
@pytest.mark.parametrize("soft", [False, True])
def test_scores_beyond_the_range_are_the_largest_and_keep_their_gradient(gamma: float, soft: bool) -> None:
    low = torch.finfo(torch.float32).min
    logits = torch.tensor([[low, 0.0, -low]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.3 if soft else 0.0, 0.0]])
    value = zlpr(logits, labels, gamma=gamma)
    value.sum().backward()
    assert not value.isnan() and logits.grad is not None
    torch.testing.assert_close(logits.grad, gamma * torch.tensor([[-1.0, 0.0, 1.0]]))
    lists = torch.tensor([[low, 0.0, -low]], requires_grad=True)
    sparse_zlpr(lists, torch.tensor([[0]]), gamma=gamma).sum().backward()
    torch.testing.assert_close(lists.grad, gamma * torch.tensor([[-1.0, 0.0, 1.0]]))
