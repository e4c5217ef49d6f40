"""The loss over levels, against a sum over tokens and levels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.teaforn import Head, Level, teaforn_loss
from tests.reference import teaforn as reference

WIDTH, CLASSES = 3, 5


def case(seed: int, rows: int, length: int, n: int) -> tuple[list[Level], Tensor, Tensor, Tensor]:
    """Levels without logits, labels with holes, what was replaced, and a head."""
    draw = torch.Generator().manual_seed(seed)
    found = [Level(torch.randn(rows, length, WIDTH, generator=draw).double().requires_grad_()) for _ in range(n)]
    labels = torch.randint(0, CLASSES, (rows, length), generator=draw)
    labels[torch.rand(rows, length, generator=draw) < 0.3] = -100
    replaced = torch.ones(rows, length, dtype=torch.bool)
    replaced[:, 0] = False
    return found, labels, replaced, torch.randn(CLASSES, WIDTH, generator=draw).double().requires_grad_()


def expected(found: list[Level], labels: Tensor, head: Tensor, weights: list[float], drop: bool) -> Tensor:
    rows = [
        reference.loss([list(level.hidden[row]) for level in found], head, own.tolist(), weights, drop)
        for row, own in enumerate(labels)
    ]
    return torch.stack(rows).sum() / max(1, int((labels != -100).sum()))


@given(st.integers(0, 999), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_it_is_the_sum_over_tokens_and_levels(seed: int, rows: int, length: int, n: int, drop: bool) -> None:
    found, labels, replaced, head = case(seed, rows, length, n)
    weights = [1.0, 0.5, 0.25, 2.0][:n]
    ours = teaforn_loss(found, labels, weights, replaced=replaced, drop_repeats=drop, head=Head(head))
    slow = expected(found, labels, head, weights, drop)
    torch.testing.assert_close(ours, slow)
    if not (labels != -100).any():
        return  # the sum has no term, and no gradient
    inputs = [head, *(level.hidden for level in found)]
    chunked = teaforn_loss(found, labels, weights, replaced=replaced, drop_repeats=drop, head=Head(head), chunk=2)
    torch.testing.assert_close(chunked, slow)
    for value in (ours, chunked):
        for mine, other in zip(
            torch.autograd.grad(value, inputs, retain_graph=True),
            torch.autograd.grad(slow, inputs, allow_unused=True, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other)


def test_logits_of_the_levels_are_those_of_the_head() -> None:
    found, labels, replaced, head = case(1, 2, 4, 3)
    bias = torch.randn(CLASSES).double()
    given_logits = [Level(level.hidden, level.hidden @ head.T + bias) for level in found]
    torch.testing.assert_close(
        teaforn_loss(given_logits, labels, replaced=replaced),
        teaforn_loss(found, labels, replaced=replaced, head=Head(head, bias)),
    )


def test_it_is_divided_by_the_tokens_of_the_step() -> None:
    found, labels, replaced, head = case(1, 2, 4, 3)
    whole = teaforn_loss(found, labels, replaced=replaced, head=Head(head))
    items = int((labels != -100).sum())
    parts = [
        teaforn_loss(
            [Level(level.hidden[row : row + 1]) for level in found],
            labels[row : row + 1],
            replaced=replaced[row : row + 1],
            head=Head(head),
            num_items_in_batch=items,
        )
        for row in range(2)
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_without_labels_it_is_0_and_attached() -> None:
    found, labels, replaced, head = case(1, 2, 4, 2)
    for chunk in (None, 2):
        loss = teaforn_loss(found, torch.full_like(labels, -100), replaced=replaced, head=Head(head), chunk=chunk)
        loss.backward()
        assert loss.item() == 0 and found[1].hidden.grad is not None


def test_what_does_not_fit_is_told() -> None:
    found, labels, replaced, head = case(1, 2, 4, 2)
    with pytest.raises(ValueError, match=r"weights has 3 numbers for 2 levels: give one for each"):
        teaforn_loss(found, labels, [1.0] * 3, replaced=replaced, head=Head(head))
    with pytest.raises(ValueError, match=r"the levels have no logits: give head=Head\(weight, bias\)"):
        teaforn_loss(found, labels, replaced=replaced)
    with pytest.raises(ValueError, match=r"chunk=4 needs head=Head\(weight, bias\)"):
        teaforn_loss(found, labels, replaced=replaced, chunk=4)
    with pytest.raises(ValueError, match=r"labels hold 5, but there are 5 classes"):
        teaforn_loss(found, torch.full_like(labels, 5), replaced=replaced, head=Head(head))
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3\) do not fit logits of shape \(2, 4, 5\)"):
        teaforn_loss(found, labels[:, 1:], replaced=replaced[:, 1:], head=Head(head))
