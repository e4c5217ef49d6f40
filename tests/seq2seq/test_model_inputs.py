from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.seq2seq.model_inputs import prompts

ROWS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=4)


@given(ROWS, st.booleans())
def test_prompts_are_the_sources_in_their_order(rows: list[tuple[int, int, int]], left: bool) -> None:
    """Long rows: a sort of few numbers keeps their order, whether it must or not."""
    width = max(source + target + padding for source, target, padding in rows)
    ids, mask, segments = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for number, (source, target, _) in enumerate(rows):
        start = width - source - target if left else 0
        ids[number, start : start + source + target] = torch.arange(1, source + target + 1)
        mask[number, start : start + source + target] = 1
        segments[number, start + source : start + source + target] = 1
    found, kept = prompts(ids, mask, segments, pad_token_id=77)
    longest = max(source for source, _, _ in rows)
    for number, (source, _, _) in enumerate(rows):
        assert found[number].tolist() == [77] * (longest - source) + list(range(1, source + 1))
        assert kept[number].tolist() == [0] * (longest - source) + [1] * source
