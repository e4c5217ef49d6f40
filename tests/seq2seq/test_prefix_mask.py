from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.seq2seq import prefix_mask
from tests.reference.unilm import visible

#: Rows of a source and a target with padding on either side, as (left, source, target, right).
ROWS = st.lists(st.tuples(*(st.integers(low, 4) for low in (0, 1, 0, 0))), min_size=1, max_size=3)


def batch(rows: list[tuple[int, int, int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(sum, rows))
    segments, padding = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
    for number, (left, source, target, _) in enumerate(rows):
        segments[number, left + source : left + source + target] = 1
        padding[number, left : left + source + target] = 1
    return segments, padding


@given(ROWS)
def test_every_token_sees_the_source_and_what_is_written_before_it(rows: list[tuple[int, int, int, int]]) -> None:
    segments, padding = batch(rows)
    seen = prefix_mask(segments, padding, torch.float64)[:, 0] == 0
    for number, (left, source, target, _) in enumerate(rows):
        own = [0] * source + [1] * target
        for place in range(len(own)):
            assert seen[number, left + place].nonzero().flatten().tolist() == [left + p for p in visible(place, own)]
    assert seen.any(dim=2).all()


@given(ROWS, st.integers(0, 3))
def test_behind_a_cache_the_mask_is_the_lower_part_of_the_whole_one(
    rows: list[tuple[int, int, int, int]], room: int
) -> None:
    segments, padding = batch([(left, source, target + 2, 0) for left, source, target, _ in rows])
    read = segments.shape[1] - 1
    if not segments[:, read:].all():
        return  # another row is still padded there
    whole = prefix_mask(segments, padding, torch.float64)
    part = prefix_mask(segments[:, read:], padding, torch.float64, past=read)
    assert torch.equal(part, whole[:, :, read:])
    fixed = prefix_mask(segments[:, read:], padding, torch.float64, past=read, keys=read + 1 + room)
    assert torch.equal(fixed[..., : read + 1], part)
    assert (fixed[..., read + 1 :] == torch.finfo(torch.float64).min).all()


@pytest.mark.parametrize("padded", [True, False])
def test_room_in_a_cache_that_nothing_fills_yet_is_not_seen(padded: bool) -> None:
    padding = torch.ones(1, 5) if padded else None
    source = prefix_mask(torch.zeros(1, 5, dtype=torch.long), padding, torch.float32, keys=8)
    assert ((source == 0).sum(dim=-1) == 5).all()
    padding = torch.ones(1, 6) if padded else None
    target = prefix_mask(torch.ones(1, 1, dtype=torch.long), padding, torch.float32, past=torch.tensor(5), keys=8)
    assert (target == 0)[0, 0, 0].tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_is_of_the_models_dtype_and_finite(dtype: torch.dtype) -> None:
    mask = prefix_mask(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), dtype)
    assert mask.dtype == dtype
    assert mask.tolist() == [[[[0.0, torch.finfo(dtype).min], [torch.finfo(dtype).min, 0.0]]]]
