"""Masked means, maxima, softmaxes and reversals against loops over what is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.masked import masked_logsumexp, masked_max, masked_mean, masked_softmax, reverse_padded

EXACT = {"rtol": 0, "atol": 1e-12}


def drawn(seed: int, batch: int, length: int, *more: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(batch, length, *more, generator=generator, dtype=torch.float64)
    return states, torch.rand(batch, length, generator=generator) < 0.6


sizes = st.tuples(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))


@given(sizes)
def test_means_and_maxima_are_those_of_what_is_kept(size: tuple[int, ...]) -> None:
    states, mask = drawn(*size)
    means = [
        row[kept].mean(dim=0) if kept.any() else torch.zeros(size[3]) for row, kept in zip(states, mask, strict=True)
    ]
    largest = [row[kept].amax(dim=0) if kept.any() else torch.full((size[3],), 7.0)
               for row, kept in zip(states, mask, strict=True)]  # fmt: skip
    poisoned = states.masked_fill(~mask[..., None], torch.nan)  # what is left out is not even looked at
    torch.testing.assert_close(masked_mean(poisoned, mask), torch.stack(means).double(), **EXACT)
    torch.testing.assert_close(masked_max(poisoned, mask, empty=7.0), torch.stack(largest).double(), **EXACT)
    turned = masked_mean(poisoned.transpose(0, 1), mask.T, dim=0)
    torch.testing.assert_close(turned, torch.stack(means).double(), **EXACT)


@given(sizes)
def test_what_is_kept_is_turned_round_and_twice_is_as_before(size: tuple[int, ...]) -> None:
    states, mask = drawn(*size)
    expected = states.clone()
    for row, kept in zip(expected, mask, strict=True):
        row[kept] = row[kept].flip(0)
    found = reverse_padded(states, mask)
    assert torch.equal(found, expected)
    assert torch.equal(reverse_padded(found, mask), states)
    assert torch.equal(reverse_padded(states[..., 0], mask), expected[..., 0])


@given(sizes)
def test_softmax_and_its_logarithm_are_those_of_what_is_kept(size: tuple[int, ...]) -> None:
    scores, mask = drawn(*size[:3])
    poisoned = scores.masked_fill(~mask, torch.nan)
    soft, total = masked_softmax(poisoned, mask), masked_logsumexp(poisoned, mask)
    for row, kept, found, whole in zip(scores, mask, soft, total, strict=True):
        torch.testing.assert_close(found[kept], row[kept].softmax(0), **EXACT)
        assert not found[~kept].any()
        torch.testing.assert_close(whole, row[kept].logsumexp(0), **EXACT)


@pytest.mark.parametrize("function", [masked_mean, masked_max, masked_softmax, masked_logsumexp, reverse_padded])
def test_further_padding_changes_nothing_and_gets_no_gradient(function: object) -> None:
    states = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    wide = torch.cat([states, torch.full((3, 2), torch.inf)], dim=1).requires_grad_()
    assert callable(function)
    found = function(wide, torch.nn.functional.pad(mask, (0, 2)))
    expected = function(states, mask)
    torch.testing.assert_close(found if found.dim() == 1 else found[:, :4], expected, **EXACT)
    torch.where(torch.isfinite(found), found, 0.0).square().sum().backward()
    assert wide.grad is not None and torch.isfinite(wide.grad[:, :4]).all()
    if function is not reverse_padded:
        assert not wide.grad[:, 4:].any() and not wide.grad[2].any()


def test_half_precision_is_summed_in_fp32() -> None:
    states = torch.full((1, 4096), 60000.0, dtype=torch.float16)  # the sum is beyond fp16
    assert masked_mean(states, torch.ones(1, 4096)).item() == 60000.0


def test_masks_that_do_not_fit_are_refused() -> None:
    states = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"mask of shape \(2, 4\) does not fit states of shape \(2, 3, 4\): give one"):
        masked_mean(states, torch.ones(2, 4))
    with pytest.raises(ValueError, match="dim=2 is none of the 2 dimensions of the mask"):
        masked_max(states, torch.ones(2, 3), dim=2)
    with pytest.raises(ValueError, match="dim=0: what is turned round is the mask's last dimension, 1"):
        reverse_padded(states, torch.ones(2, 3), dim=0)


@pytest.mark.parametrize("function", [masked_mean, masked_max, masked_softmax, masked_logsumexp, reverse_padded])
@pytest.mark.parametrize("kept", [-10000.0, 0.5, torch.nan])
def test_masks_that_are_added_to_scores_are_refused(function: Any, kept: float) -> None:
    """They keep what is 0, and would be read the other way round."""
    states, mask = torch.ones(1, 2), torch.tensor([[0.0, kept]])
    with pytest.raises(ValueError, match="give 1 or True for what counts, and 0 or False elsewhere"):
        function(states, mask, dim=1)
    torch.testing.assert_close(function(states, mask > 2, dim=1), function(states, torch.zeros(1, 2), dim=1))
