"""Characters and tokens: maps, expansion, and what labels lose between the two."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit import WoBertTokenizer
from nlpkit.labels.alignment import (
    UNCOVERED,
    AlignmentLoss,
    align_labels,
    close_gaps,
    expand_to_characters,
    find_inexpressible_spans,
    map_characters,
    place_in_token,
    spread_labels,
    without_overlaps,
)
from nlpkit.labels.spans import bio_to_spans, score_spans, spans_to_bio
from recipes.pfr_entities import read_line, split_by_order

Offsets = list[tuple[int, int]]


@st.composite
def segmentations(draw: st.DrawFn, max_length: int = 12) -> tuple[int, Offsets]:
    """Offsets with specials at both ends, gaps where characters are dropped, tokens that share a character."""
    length = draw(st.integers(0, max_length))
    borders = sorted({0, length, *draw(st.sets(st.integers(0, length)))})
    pieces = list(pairwise(borders))
    offsets = [(0, 0)]
    for start, end in pieces:
        kind = draw(st.sampled_from(["token", "token", "dropped", "several tokens"]))
        offsets += [] if kind == "dropped" else [(start, end)]
        offsets += [(end, end)] if kind == "several tokens" else []
    return length, [*offsets, (0, 0)]


@st.composite
def labelled_segmentations(draw: st.DrawFn, max_length: int = 12) -> tuple[Offsets, list[str]]:
    length, offsets = draw(segmentations(max_length))
    free = draw(st.lists(st.sampled_from(["O", "B-X", "I-X", "I-Y"]), min_size=length, max_size=length))
    return offsets, spans_to_bio(bio_to_spans(free), length)


@given(segmentations())
def test_map_agrees_with_searching_every_span(case: tuple[int, Offsets]) -> None:
    length, offsets = case
    slow = [
        next((token for token, (start, end) in enumerate(offsets) if start <= index < end), UNCOVERED)
        for index in range(length)
    ]
    assert map_characters(offsets, length).tolist() == slow


@pytest.mark.parametrize(
    "offsets", [[(0, 2), (1, 3)], [(2, 3), (0, 1)], [(0, 6)], [(3, 2)], [(-1, 2)], [(0, 3), (0, 0), (0, 2)]]
)
def test_map_refuses_offsets_that_are_not_those_of_one_text(offsets: Offsets) -> None:
    with pytest.raises(ValueError, match=r"offsets\[\d\] is .* must ascend without overlap"):
        map_characters(offsets, 5)


@given(st.lists(segmentations(), min_size=1, max_size=3), st.integers(1, 5))
def test_place_agrees_with_counting_to_both_ends(cases: list[tuple[int, Offsets]], reach: int) -> None:
    width = max(length for length, _ in cases)
    rows, slow = [], []
    for length, offsets in cases:
        row = [*map_characters(offsets, length).tolist(), *[UNCOVERED] * (width - length)]
        places = [0] * width
        for index, token in enumerate(row):
            if token != UNCOVERED:
                start, end = offsets[token]
                places[index] = reach * min(index - start, reach - 1) + min(end - 1 - index, reach - 1)
        rows.append(row)
        slow.append(places)
    assert place_in_token(torch.tensor(rows).reshape(len(rows), width), reach).tolist() == slow


def test_place_tells_all_characters_of_a_word_within_reach_apart() -> None:
    for size in range(1, 5):
        places = place_in_token(torch.zeros(1, size, dtype=torch.long), reach=4)
        assert len(set(places[0].tolist())) == size


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.data())
def test_expansion_agrees_with_a_loop(batch: int, tokens: int, characters: int, data: st.DataObject) -> None:
    states = torch.randn(batch, tokens, 3)
    indices = st.lists(st.integers(-1, tokens - 1), min_size=characters, max_size=characters)
    rows = data.draw(st.lists(indices, min_size=batch, max_size=batch))
    expanded = expand_to_characters(states, torch.tensor(rows))
    for row, column in product(range(batch), range(characters)):
        token = rows[row][column]
        expected = torch.zeros(3) if token == UNCOVERED else states[row, token]
        assert torch.equal(expanded[row, column], expected)


def test_expansion_sends_each_gradient_to_its_token() -> None:
    states = torch.randn(1, 3, 2, requires_grad=True)
    expand_to_characters(states, torch.tensor([[0, 0, 2, -1]])).sum().backward()
    assert states.grad is not None
    assert states.grad[0, :, 0].tolist() == [2.0, 0.0, 1.0]


def test_expansion_refuses_tokens_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="points at token 3, but token_states holds 3"):
        expand_to_characters(torch.zeros(1, 3, 2), torch.tensor([[0, 3]]))


def _token_labellings(offsets: Offsets) -> Iterator[tuple[str | None, ...]]:
    labels = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    return product(*[labels if start < end else [None] for start, end in offsets])


@given(labelled_segmentations(max_length=5))
@settings(max_examples=50)
def test_oracle_is_the_best_of_all_token_labellings(case: tuple[Offsets, list[str]]) -> None:
    offsets, labels = case
    gold = bio_to_spans(labels)
    _, loss = align_labels(labels, offsets)
    spread = (spread_labels(candidate, offsets, len(labels)) for candidate in _token_labellings(offsets))
    best = max(score_spans([gold], [bio_to_spans(candidate)])["all"].f1 for candidate in spread)
    assert best == pytest.approx(loss.oracle_f1 if gold else 0.0)


@given(labelled_segmentations())
def test_labels_survive_the_way_through_tokens_unless_reported_lost(case: tuple[Offsets, list[str]]) -> None:
    offsets, labels = case
    token_labels, loss = align_labels(labels, offsets)
    returned = spread_labels(token_labels, offsets, len(labels))
    changed = sum(a != b for a, b in zip(labels, returned, strict=True))
    assert (loss.characters, loss.lost_characters) == (len(labels), changed)
    lost = find_inexpressible_spans(bio_to_spans(labels), offsets, len(labels))
    assert loss.lost_spans == len(lost)
    assert set(bio_to_spans(labels)) - set(bio_to_spans(returned)) == set(lost)


@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y"]), max_size=10))
def test_nothing_is_lost_when_tokens_are_characters(free: list[str]) -> None:
    labels = spans_to_bio(bio_to_spans(free), len(free))
    offsets = [(0, 0), *[(index, index + 1) for index in range(len(labels))], (0, 0)]
    token_labels, loss = align_labels(labels, offsets)
    assert token_labels == [None, *labels, None]
    assert (loss.lost_spans, loss.lost_characters, loss.oracle_f1) == (0, 0, 1.0)


def test_token_belongs_to_the_span_with_most_of_its_characters() -> None:
    assert align_labels(["B-X", "I-X", "O"], [(0, 3)])[0] == ["B-X"]
    assert align_labels(["B-X", "O", "O"], [(0, 3)])[0] == ["O"]
    assert align_labels(["B-X", "B-Y"], [(0, 2)])[0] == ["B-X"]
    assert align_labels(["O", "B-X", "I-X", "I-X"], [(0, 2), (2, 4)])[0] == ["O", "B-X"]


def test_losses_of_texts_add_up() -> None:
    first, second = AlignmentLoss(3, 1, 10, 2), AlignmentLoss(1, 0, 5, 0)
    assert first + second == AlignmentLoss(4, 1, 15, 2)
    assert (first + second).oracle_f1 == pytest.approx(6 / 7)
    assert AlignmentLoss().oracle_f1 == 1.0


def test_labels_of_special_tokens_count_for_nothing() -> None:
    offsets = [(0, 0), (0, 2), (0, 0), (2, 3), (3, 3)]
    labels = ["B-X", "B-X", "O", "I-X", "B-Y"]
    assert spread_labels(labels, offsets, 3) == ["B-X", "I-X", "I-X"]


def test_spread_refuses_labels_that_are_not_one_a_token() -> None:
    with pytest.raises(ValueError, match="1 token labels for 2 tokens"):
        spread_labels(["O"], [(0, 1), (1, 2)], 2)


def test_gap_inside_a_span_belongs_to_it_and_others_are_outside() -> None:
    labels = ["B-X", "B-Y", "I-X", "B-Y", "O"]
    assert close_gaps(labels, [0, -1, 1, -1, 2]) == ["B-X", "I-X", "I-X", "O", "O"]
    assert close_gaps(["B-X", "O", "B-X"], [0, -1, 1]) == ["B-X", "O", "B-X"]
    assert close_gaps([], []) == []


@pytest.mark.shared
@pytest.mark.parametrize(("vocabulary", "lost"), [("wobert-base", 91), ("wobert-plus", 159)])
def test_entities_of_the_peoples_daily_that_released_vocabularies_lose(
    shared_data: Path, shared_models: Path, vocabulary: str, lost: int
) -> None:
    with lzma.open(shared_data / "cws" / "pfr-199801.tagged.utf8.xz", "rt", encoding="utf-8") as file:
        test = split_by_order([read_line(line) for line in file if line.strip()])["test"]
    tokenizer = WoBertTokenizer(vocab=shared_models / "vocab" / f"{vocabulary}.vocab.txt")
    offsets = tokenizer([example["text"] for example in test], return_offsets_mapping=True)["offset_mapping"]
    total = AlignmentLoss()
    for example, spans_of_tokens in zip(test, offsets, strict=True):
        labels = spans_to_bio(example["spans"], len(example["text"]))
        total += align_labels(labels, spans_of_tokens)[1]
    assert (total.spans, total.lost_spans) == (5516, lost)


def test_each_character_belongs_to_the_last_token_that_covers_it() -> None:
    assert without_overlaps([(0, 0), (0, 1), (0, 1), (1, 3), (0, 0)]) == [(0, 0), (0, 0), (0, 1), (1, 3), (0, 0)]
