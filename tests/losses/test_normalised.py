"""The losses against torch's own, and their normalisation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nlpkit.losses.normalised import binary_cross_entropy, cross_entropy, squared_error

shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(2, 6), st.integers(0, 99))


@given(shape=shapes)
def test_cross_entropy_without_a_count_is_torchs_mean(shape: tuple[int, int, int, int]) -> None:
    rows, length, classes, seed = shape
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, classes, generator=generator)
    labels = torch.randint(classes, (rows, length), generator=generator)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


@given(shape=shapes, parts=st.integers(1, 4))
def test_parts_divided_by_the_whole_count_add_up_to_the_whole(shape: tuple[int, int, int, int], parts: int) -> None:
    rows, length, classes, seed = shape
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, classes, (rows, length), generator=generator)
    labels[labels == -1] = -100
    count = (labels != -100).sum()
    pieces = [
        cross_entropy(some, other, num_items_in_batch=count)
        for some, other in zip(logits.chunk(parts), labels.chunk(parts), strict=True)
    ]
    torch.testing.assert_close(sum(pieces), cross_entropy(logits, labels), rtol=0, atol=1e-12)


def test_nothing_labelled_gives_zero_that_can_be_differentiated() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(2, 3))


def test_half_precision_is_summed_in_fp32_and_fp64_is_kept() -> None:
    logits = torch.full((1, 4), 1e4, dtype=torch.float16)
    assert cross_entropy(logits, torch.tensor([2])).dtype == torch.float32
    assert math.isclose(cross_entropy(logits, torch.tensor([2])).item(), math.log(4), rel_tol=1e-6)
    assert cross_entropy(logits.double(), torch.tensor([2])).dtype == torch.float64


@pytest.mark.parametrize("count", [None, 6, 12])
def test_what_is_not_known_counts_for_nothing(count: int | None) -> None:
    logits, known = torch.randn(2, 3), torch.tensor([[True, False, True], [True, True, False]])
    targets = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]]).masked_fill(~known, -100.0)
    share = 1.0 if count is None else 4 / count
    torch.testing.assert_close(
        binary_cross_entropy(logits, targets, num_items_in_batch=count),
        F.binary_cross_entropy_with_logits(logits[known], targets[known]) * share,
    )
    torch.testing.assert_close(
        squared_error(logits, targets, num_items_in_batch=count), F.mse_loss(logits[known], targets[known]) * share
    )


@pytest.mark.parametrize("count", [None, 6, 12])
def test_multi_label_and_regression_losses_are_torchs_means(count: int | None) -> None:
    logits, targets = torch.randn(2, 3), torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
    share = 1.0 if count is None else 6 / count
    torch.testing.assert_close(
        binary_cross_entropy(logits, targets, num_items_in_batch=count),
        F.binary_cross_entropy_with_logits(logits, targets) * share,
    )
    torch.testing.assert_close(
        squared_error(logits, targets, num_items_in_batch=count), F.mse_loss(logits, targets) * share
    )
