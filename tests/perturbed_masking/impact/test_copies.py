"""Perturbed copies: which there are, and that each stands by itself."""

from __future__ import annotations

import pytest

from nlpkit.perturbed_masking.impact.copies import count_copies, masked_units


@pytest.mark.parametrize("reach", [None, 1, 2, 4, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_copies_are_counted_as_they_are_made(count: int, reach: int | None) -> None:
    first, second = masked_units(count, reach)
    assert len(first) == count_copies(count, reach)
    wanted = {(i, j) for i in range(count) for j in range(i, count) if reach is None or j - i <= reach}
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == (wanted if count > 1 else set())
    assert (first[:count] == second[:count]).all()
