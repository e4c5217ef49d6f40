"""The best labelling that BIO allows."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit.labels.bio_decoding import decode_bio
from nlpkit.labels.spans import bio_to_spans, spans_to_bio

NAMES = ["B-PER", "O", "I-PER", "I-LOC", "B-LOC"]


def best_by_trying_all(logits: torch.Tensor) -> list[str]:
    """Score every labelling that equals what its own spans are written as."""
    allowed = [
        row for row in product(NAMES, repeat=len(logits)) if spans_to_bio(bio_to_spans(row), len(row)) == [*row]
    ]
    return list(max(allowed, key=lambda row: sum(logits[i, NAMES.index(n)].item() for i, n in enumerate(row))))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 5), st.lists(st.booleans(), min_size=1, max_size=5))
def test_equals_the_best_of_all_labellings(seed: int, scale: int, mask: list[bool]) -> None:
    logits = torch.randn(len(mask), len(NAMES), generator=torch.Generator().manual_seed(seed)) * scale
    keep = torch.tensor(mask)
    numbers = decode_bio(logits[None], keep[None], NAMES)[0]
    assert [NAMES[number] for number in numbers[keep]] == best_by_trying_all(logits[keep])


def test_positions_without_a_label_repeat_the_one_before() -> None:
    logits = torch.zeros(1, 4, len(NAMES))
    logits[0, 1, NAMES.index("B-LOC")] = 1.0
    logits[0, 3, NAMES.index("I-LOC")] = 1.0
    path = decode_bio(logits, torch.tensor([[False, True, False, True]]), NAMES)[0]
    assert [NAMES[number] for number in path] == ["O", "B-LOC", "B-LOC", "I-LOC"]


def test_rows_of_a_batch_do_not_meet() -> None:
    logits = torch.randn(6, 9, len(NAMES), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([[9], [0], [3], [1], [8], [5]])
    together = decode_bio(logits, mask, NAMES)
    for row, keep, path in zip(logits, mask, together, strict=True):
        alone = decode_bio(row[keep][None], mask.new_ones(1, int(keep.sum())), NAMES)[0]
        assert path[keep].tolist() == alone.tolist()


def test_best_labels_that_agree_are_kept_and_half_precision_serves() -> None:
    wanted = ["O", "B-PER", "I-PER", "B-PER", "B-LOC", "I-LOC", "O"]
    logits = torch.nn.functional.one_hot(torch.tensor([NAMES.index(name) for name in wanted])).to(torch.bfloat16)
    path = decode_bio(logits[None], torch.ones(1, len(wanted), dtype=torch.bool), NAMES)[0]
    assert [NAMES[number] for number in path] == wanted


@pytest.mark.parametrize("names", [["B-PER", "I-PER"], ["O", "PER"], ["O", "B-"]])
def test_labels_that_are_not_bio_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="are no BIO labels; those are 'O', 'B-<type>' and 'I-<type>'"):
        decode_bio(torch.zeros(1, 2, len(names)), torch.ones(1, 2, dtype=torch.bool), names)


def test_a_name_for_every_score() -> None:
    with pytest.raises(ValueError, match="5 label names for 3 scores"):
        decode_bio(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool), NAMES)
