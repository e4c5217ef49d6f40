from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.ladder_side_tuning.side.merging import choose_layers, gated_sum


def test_numbers_give_the_choices_of_the_paper_and_of_the_blog() -> None:
    assert sorted(set(range(12)) - set(choose_layers(9, 12))) == [0, 4, 8]
    assert choose_layers(12, 24) == list(range(1, 24, 2))
    assert choose_layers(4, 12) == [2, 5, 8, 11]
    assert choose_layers(None, 3) == [0, 1, 2]
    assert choose_layers(0.75, 12) == choose_layers(9, 12)
    assert choose_layers(0.1, 3) == [2]


@given(depth=st.integers(1, 40), data=st.data())
def test_a_number_keeps_so_many_evenly_and_the_last(depth: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, depth))
    kept = choose_layers(number, depth)
    gaps = [after - before for before, after in zip([-1, *kept], kept, strict=False)]
    assert len(kept) == number
    assert kept[-1] == depth - 1
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (1.5, "layers=1.5 is no share; use a number between 0 and 1, or a whole one"),
        (0, "layers=0 of a backbone with 4; use 1 to 4, or None for all"),
        (5, "layers=5 of a backbone with 4"),
        ([4], "layers holds 4; the backbone has 4, so use 0 to 3"),
        ([-5], "layers holds -5"),
        ([], r"layers=\[\] must name at least one layer"),
        ([3, -1], r"layers=\[3, -1\] must name at least one layer, and none twice"),
    ],
)
def test_layers_out_of_range_are_named(layers: float | list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_layers(layers, 4)


@given(alpha=st.floats(-3, 3), temperature=st.floats(0.05, 2), side=st.floats(-9, 9), tap=st.floats(-9, 9))
def test_the_gate_is_the_papers(alpha: float, temperature: float, side: float, tap: float) -> None:
    share = 1 / (1 + math.exp(-alpha / temperature))
    found = gated_sum(*(torch.tensor(value, dtype=torch.float64) for value in (side, tap, alpha)), temperature)
    assert found.item() == pytest.approx(share * side + (1 - share) * tap, abs=1e-9)


def test_an_open_or_shut_gate_is_exact() -> None:
    side, tap = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(gated_sum(side, tap, torch.tensor(torch.inf), 0.1), side)
    assert torch.equal(gated_sum(side, tap, torch.tensor(-torch.inf), 0.1), tap)
