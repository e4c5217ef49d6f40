"""The cross-entropy balanced by logarithms: its formula, what it becomes, and its edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses import LogBalancedLoss, log_balanced_cross_entropy, zlpr

EXACT = {"rtol": 0, "atol": 1e-12}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_labels(*shape: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, shape, generator=generator)
    return labels.masked_fill(torch.rand(shape, generator=generator) < 0.3, -100)


def by_loops(logits: Tensor, labels: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for one in range(logits.shape[-1]):
        inside = torch.ones((), dtype=torch.float64)
        for token, label in enumerate(labels.tolist()):
            if label == one:
                for other in range(logits.shape[-1]):
                    if other != one:
                        inside = inside + (logits[token, other] - logits[token, one]).exp()
        total = total + inside.log()
    return total


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_it_is_the_published_formula(tokens: int, classes: int, seed: int) -> None:
    logits, labels = drawn(2, tokens, classes, seed=seed), some_labels(2, tokens, classes=classes, seed=seed)
    expected = torch.stack([by_loops(*pair) for pair in zip(logits, labels, strict=True)])
    torch.testing.assert_close(log_balanced_cross_entropy(logits, labels), expected, **EXACT)


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_what_it_becomes(tokens: int, seed: int) -> None:
    logits, labels = drawn(tokens, 5, seed=seed), some_labels(tokens, classes=5, seed=seed).abs() % 5
    plain = F.cross_entropy(logits, labels, reduction="none")
    alone = log_balanced_cross_entropy(logits.unsqueeze(1), labels.unsqueeze(1))
    torch.testing.assert_close(alone, plain, **EXACT)
    assert log_balanced_cross_entropy(logits, labels) <= plain.sum() + 1e-12
    two, pair = logits[:, :2], labels % 2
    torch.testing.assert_close(log_balanced_cross_entropy(two, pair), zlpr(two[:, 1] - two[:, 0], pair), **EXACT)


def test_an_item_is_a_sequence() -> None:
    logits, labels = drawn(3, 4, 5), some_labels(3, 4, classes=5, seed=1)
    labels[1] = -100
    loss, kept = LogBalancedLoss(), [0, 2]
    assert loss.items(labels) == 2
    expected = log_balanced_cross_entropy(logits[kept], labels[kept]).mean()
    torch.testing.assert_close(loss(logits, labels), expected, **EXACT)
    mask = torch.tensor([[True, True, False, True]] * 3)
    assert torch.equal(loss(logits, labels, mask=mask), loss(logits, labels.masked_fill(~mask, -100)))


def test_gradients_are_those_of_the_value_and_nothing_where_nothing_is_asked() -> None:
    logits = drawn(2, 3, 4).requires_grad_()
    labels = torch.tensor([[0, -100, 0], [3, 1, 2]])
    assert torch.autograd.gradcheck(lambda s: log_balanced_cross_entropy(s, labels), (logits,))
    log_balanced_cross_entropy(logits, labels).sum().backward()
    assert logits.grad is not None and not logits.grad[0, 1].any()


@pytest.mark.parametrize("classes", [1, 3])
def test_one_class_and_minus_infinity_give_no_nan(classes: int) -> None:
    logits = drawn(1, 2, classes).requires_grad_()
    impossible = torch.zeros(1, 2, classes).index_fill(2, torch.arange(1, classes), -torch.inf)
    loss = log_balanced_cross_entropy(logits + impossible, torch.zeros(1, 2).long())
    loss.sum().backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3\) do not fit logits of shape \(2, 4, 5\): give one"):
        LogBalancedLoss()(drawn(2, 4, 5), torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match=r"labels hold 5, but there are 5 classes: give 0 to 4, or -100"):
        log_balanced_cross_entropy(drawn(2, 5), torch.tensor([0, 5]))
    with pytest.raises(ValueError, match=r"num_items_in_batch counts tokens: give the loss to TechniqueTrainer"):
        LogBalancedLoss()(drawn(1, 2, 5), torch.zeros(1, 2).long(), num_items_in_batch=2)


def test_gaps_beyond_the_range_keep_their_gradient() -> None:
    low = torch.finfo(torch.float32).min
    logits = torch.tensor([[[low, -low, 0.0]]], requires_grad=True)
    value = log_balanced_cross_entropy(logits, torch.tensor([[0]]))
    value.sum().backward()
    assert not value.isnan()
    torch.testing.assert_close(logits.grad, torch.tensor([[[-1.0, 1.0, 0.0]]]))
