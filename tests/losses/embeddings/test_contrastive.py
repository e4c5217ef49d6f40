"""Contrastive losses: against loops over anchors, against each other, and where other formulas round to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import (
    ContrastiveLoss,
    FlatNCELoss,
    InfoNCELoss,
    NonContrastiveLoss,
    SupervisedContrastiveLoss,
    flat_nce,
    info_nce,
    supervised_contrastive,
)
from nlpkit.losses.embeddings.embedding_loss import PooledLoss, pool

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def info_nce_of_anchor(positives: list[float], negatives: list[float]) -> float:
    return sum(math.log(1 + sum(math.exp(n - p) for n in negatives)) for p in positives) / len(positives)


def flat_nce_of_anchor(positives: list[float], negatives: list[float]) -> float:
    return math.log(sum(math.exp(n) for n in negatives)) - sum(positives) / len(positives)


def supervised_of_anchor(positives: list[float], negatives: list[float]) -> float:
    every = math.log(sum(math.exp(score) for score in positives + negatives))
    return sum(every - p for p in positives) / len(positives)


KINDS: dict[str, tuple[type[ContrastiveLoss], Callable[[list[float], list[float]], float]]] = {
    "info_nce": (InfoNCELoss, info_nce_of_anchor),
    "flat_nce": (FlatNCELoss, flat_nce_of_anchor),
    "supervised": (SupervisedContrastiveLoss, supervised_of_anchor),
}
each_kind = pytest.mark.parametrize(("loss", "oracle"), KINDS.values(), ids=KINDS)


def looped(
    oracle: Callable[[list[float], list[float]], float],
    embeddings: Tensor,
    labels: Tensor,
    temperature: float,
    needs_negatives: bool,
) -> float:
    """The loss of a batch, anchor by anchor."""
    rows, views = labels.view(len(labels), -1).tolist(), labels.dim() == 2
    values = []
    for anchor, label in enumerate(rows):
        if label[0] == -100:
            continue
        positives, negatives = [], []
        for other, other_label in enumerate(rows):
            if other == anchor or other_label[0] == -100 or (views and other_label[1] == label[1]):
                continue
            cosine = F.cosine_similarity(embeddings[anchor], embeddings[other], dim=0).item() / temperature
            (positives if other_label[0] == label[0] else negatives).append(cosine)
        if positives and (negatives or not needs_negatives):
            values.append(oracle(positives, negatives))
    return sum(values) / len(values) if values else 0.0


@each_kind
@given(st.lists(st.sampled_from([-100, 0, 1, 2]), min_size=1, max_size=7), st.booleans(), st.integers(0, 99))
def test_a_batch_equals_a_loop_over_anchors(
    loss: type[ContrastiveLoss], oracle: Callable[..., float], groups: list[int], views: bool, seed: int
) -> None:
    embeddings, labels = drawn(len(groups), 4, seed=seed), torch.tensor(groups)
    if views:
        labels = torch.stack([labels, torch.arange(len(groups)) % 2], dim=1)
    expected = looped(oracle, embeddings, labels, 0.3, needs_negatives=loss is not SupervisedContrastiveLoss)
    assert loss(temperature=0.3)(embeddings, labels).item() == pytest.approx(expected, abs=1e-10)


@each_kind
def test_gradients_are_finite_whatever_is_missing(loss: type[ContrastiveLoss], oracle: Any) -> None:
    for groups in ([0], [0, 0], [0, 1], [0, 1, 2], [0, 0, 0], [-100, -100], [0, 0, -100]):
        embeddings = drawn(len(groups), 4).requires_grad_()
        value = loss()(embeddings, torch.tensor(groups))
        value.backward()
        assert value.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()


def one_positive(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    positives = torch.zeros_like(scores, dtype=torch.bool)
    positives[:, 0] = True
    return scores, positives, ~positives


def test_with_one_positive_info_nce_is_the_cross_entropy_and_flat_nce_its_log() -> None:
    """The gradient of FlatNCE as published, xi over itself without gradient, is that of log xi."""
    scores = drawn(5, 6).requires_grad_()
    targets = torch.zeros(5, dtype=torch.long)
    torch.testing.assert_close(
        info_nce(*one_positive(scores)), F.cross_entropy(scores, targets, reduction="none"), **EXACT
    )
    torch.testing.assert_close(supervised_contrastive(*one_positive(scores)), info_nce(*one_positive(scores)), **EXACT)
    xi = (scores[:, 1:] - scores[:, :1]).exp().sum(dim=1)
    published = (xi / xi.detach()).sum()
    ours = flat_nce(*one_positive(scores)).sum()
    for found, expected in zip(torch.autograd.grad(ours, scores), torch.autograd.grad(published, scores), strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize(("gap", "dtype"), [(17.0, torch.float32), (10.0, torch.bfloat16), (10.0, torch.float16)])
def test_the_gradient_at_a_far_positive_does_not_round_to_nothing(gap: float, dtype: torch.dtype) -> None:
    scores = torch.tensor([[gap, 0.0, 0.0, 0.0]], dtype=dtype).requires_grad_()
    usual = F.cross_entropy(scores, torch.tensor([0]))
    assert torch.autograd.grad(usual, scores)[0][0, 0] == 0
    flat = flat_nce(*one_positive(scores)).sum()
    assert torch.autograd.grad(flat, scores)[0][0, 0] == -1
    wide = scores.detach().float().requires_grad_()
    (gradient,) = torch.autograd.grad(info_nce(*one_positive(wide)).sum(), wide)
    assert -gradient[0, 0].item() == pytest.approx(3 * math.exp(-gap), rel=1e-3)


@pytest.mark.parametrize("gap", [0.0, 5.0, 20.7, 60.0])  # 60 is a loss of 9e-27
@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-15), (torch.float32, 1e-7)], ids=str)
def test_with_one_positive_supervised_loses_no_digits_either(gap: float, dtype: torch.dtype, share: float) -> None:
    scores = drawn(6, 5).to(dtype)
    scores[:, 0] += gap
    found, expected = (scores.clone().requires_grad_() for _ in range(2))
    for function, scored in ((supervised_contrastive, found), (info_nce, expected)):
        function(*one_positive(scored)).sum().backward()
    values = supervised_contrastive(*one_positive(scores))
    torch.testing.assert_close(values, info_nce(*one_positive(scores)), rtol=share, atol=0)
    torch.testing.assert_close(found.grad, expected.grad, rtol=share, atol=0)
    exact = torch.log1p((scores[:, 1:].double() - scores[:, :1].double()).exp().sum(dim=1))
    torch.testing.assert_close(values.double(), exact, rtol=100 * torch.finfo(dtype).eps, atol=0)


def test_hard_positives_do_not_saturate() -> None:
    """A tiny constant within the logarithm, as some add, ends the loss at 22.6 here."""
    scores = torch.tensor([[0.0, 50.0, 50.0]])
    assert info_nce(*one_positive(scores)).item() == pytest.approx(50 + math.log(2), rel=1e-6)


def test_anchors_may_be_one_view_alone() -> None:
    embeddings = drawn(6, 4)
    labels = torch.tensor([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [3, 1]])
    scores = F.normalize(embeddings[:3], dim=1) @ F.normalize(embeddings[3:], dim=1).T / 0.2
    expected = F.cross_entropy(scores[:2], torch.tensor([0, 1]))
    torch.testing.assert_close(InfoNCELoss(0.2, symmetric=False)(embeddings, labels), expected, **EXACT)
    with pytest.raises(ValueError, match=r"symmetric=False needs labels of shape \(batch, 2\)"):
        InfoNCELoss(symmetric=False)(embeddings, labels[:, 0])


def test_a_margin_is_taken_from_the_cosine_of_positives() -> None:
    embeddings, labels = drawn(4, 4), torch.tensor([0, 0, 1, 1])
    gain = FlatNCELoss(0.5, margin=0.1)(embeddings, labels) - FlatNCELoss(0.5)(embeddings, labels)
    assert gain.item() == pytest.approx(0.1 / 0.5)


def test_states_are_pooled_without_padding() -> None:
    states, mask = drawn(2, 3, 4), torch.tensor([[1, 1, 0], [1, 1, 1]])
    expected = torch.stack([states[0, :2].mean(dim=0), states[1].mean(dim=0)])
    torch.testing.assert_close(pool((states,), mask), expected, **EXACT)
    torch.testing.assert_close(pool({"last_hidden_state": states}, mask, "first"), states[:, 0], **EXACT)
    torch.testing.assert_close(pool((states,), None), states.mean(dim=1), **EXACT)
    with pytest.raises(ValueError, match=r"no embeddings among logits: train a model without a head \(AutoModel\)"):
        pool({"logits": states}, mask)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature=0: give .* above 0; cosines are divided by it"):
        InfoNCELoss(temperature=0)
    with pytest.raises(ValueError, match=r"is over embeddings of shape \(batch, dim\), and these have shape"):
        InfoNCELoss()(torch.ones(2, 3, 4), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"pooling='max': give 'mean' or 'first'"):
        InfoNCELoss(pooling="max")  # type: ignore[arg-type]


def non_contrastive() -> NonContrastiveLoss:
    return NonContrastiveLoss(torch.nn.Identity())


OVER_GROUPS = [InfoNCELoss, FlatNCELoss, SupervisedContrastiveLoss, non_contrastive]
over_groups = pytest.mark.parametrize("make", OVER_GROUPS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([0.8, 0.1, 0.3, 1.0]),
            r"numbers of groups \(torch.long\), not torch.float32: .*scores of",
        ),
        (torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.bfloat16), r"not torch.bfloat16: "),
        (torch.tensor([True, True, False, False]), r"not torch.bool: "),
        (torch.tensor([[0.8, 0.0]] * 4), r"not torch.float32: "),
        (
            torch.tensor([[0], [0], [1], [1]]),
            r"of shape \(4, 1\): give numbers of groups, shape \(batch,\)",
        ),
        (torch.zeros(4, 3).long(), r"labels are of shape \(4, 3\): .* or groups and views, shape \(batch, 2\)"),
        (torch.zeros(4, 2, 2).long(), r"labels are of shape \(4, 2, 2\): "),
        (torch.tensor(0), r"labels are of shape \(\): "),
    ],
)
@over_groups
def test_labels_that_are_no_groups_are_refused(make: Callable[[], PooledLoss], labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(drawn(4, 3), labels)
    with pytest.raises(ValueError, match=message):
        make().items_of({"labels": labels})


@over_groups
def test_the_first_batch_without_a_positive_is_told(make: Callable[[], PooledLoss], recwarn: Any) -> None:
    loss, embeddings = make(), drawn(4, 3)
    loss(embeddings, torch.tensor([0, 0, 1, 1]))
    loss(embeddings, torch.full((4,), -100))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"no text of this batch has another .*, so that its loss is 0 .*SimCSE"):
        assert loss(embeddings, torch.arange(4)) == 0
    recwarn.clear()
    loss(embeddings, torch.arange(4))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=rf"^{type(loss).__name__}: no text of this batch has another of its group"):
        make()(drawn(3, 3), torch.tensor([[0, 0], [0, 0], [1, 1]]))  # of one group, but of one view


@pytest.mark.parametrize("make", [InfoNCELoss, FlatNCELoss])
def test_a_batch_of_one_group_is_told(make: Callable[[], ContrastiveLoss]) -> None:
    with pytest.warns(UserWarning, match=r"no text .* one of another group, so that its loss is 0 .* several groups"):
        assert make()(drawn(4, 3), torch.zeros(4).long()) == 0
