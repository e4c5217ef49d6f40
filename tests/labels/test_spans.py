"""Spans, BIO labels and exact-match scores."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.labels.spans import Span, SpanScores, bio_to_spans, score_spans, spans_to_bio
from nlpkit.tasks.entities import Entity


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[int, list[Span]]:
    length = draw(st.integers(0, 12))
    borders = sorted(draw(st.sets(st.integers(0, length))))
    pairs = itertools.pairwise(borders)
    names = st.sampled_from(["PER", "LOC", None])
    labelled = [(start, end, draw(names)) for start, end in pairs]
    return length, [Span(start, end, name) for start, end, name in labelled if name]


@given(texts_with_spans())
def test_spans_survive_bio(case: tuple[int, list[Span]]) -> None:
    length, spans = case
    assert bio_to_spans(spans_to_bio(spans, length)) == spans


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=10))
def test_any_bio_sequence_reads_as_flat_ordered_spans(labels: list[str]) -> None:
    spans = bio_to_spans(labels)
    covered = [index for span in spans for index in range(span.start, span.end)]
    assert covered == [index for index, label in enumerate(labels) if label != "O"]
    for span in spans:
        assert {label[2:] for label in labels[span.start : span.end]} == {span.label}
        assert all(label[0] == "I" for label in labels[span.start + 1 : span.end])


def test_orphan_inside_label_starts_a_span() -> None:
    assert bio_to_spans(["I-PER", "I-LOC", "I-LOC"]) == [Span(0, 1, "PER"), Span(1, 3, "LOC")]


def test_type_names_may_hold_hyphens() -> None:
    assert bio_to_spans(["B-work-of-art", "I-work-of-art"]) == [Span(0, 2, "work-of-art")]


@pytest.mark.parametrize("label", ["S-PER", "B", "B-", "-PER", "", "PER", "O-PER"])
def test_label_of_another_scheme_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r"label 1 is .*; BIO labels are 'O', 'B-<type>' and 'I-<type>'"):
        bio_to_spans(["O", label])


@pytest.mark.parametrize("span", [(2, 2), (3, 2), (-1, 1), (3, 5)])
def test_span_outside_the_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie in a text of 4 characters"):
        spans_to_bio([Span(*span, "PER")], 4)


def test_overlapping_spans_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 'LOC'\) overlaps another at character 1"):
        spans_to_bio([Span(0, 2, "PER"), Span(1, 3, "LOC")], 4)


def test_scores_count_exact_matches_per_text_and_label() -> None:
    gold = [[Span(0, 2, "PER"), Span(3, 5, "LOC")], [Span(0, 2, "PER")], []]
    predicted = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [Span(0, 2, "ORG")], [Span(1, 2, "PER")]]
    scores = score_spans(gold, predicted)
    assert list(scores) == ["all", "LOC", "ORG", "PER"]
    counted = {label: (score.gold, score.predicted, score.correct) for label, score in scores.items()}
    assert counted == {"all": (3, 4, 1), "PER": (2, 2, 1), "LOC": (1, 1, 0), "ORG": (0, 1, 0)}
    total = scores["all"]
    assert (total.precision, total.recall) == (1 / 4, 1 / 3)
    assert total.f1 == pytest.approx(2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3))


def test_scores_of_nothing_are_zero() -> None:
    total = score_spans([[]], [[]])["all"]
    assert (total.precision, total.recall, total.f1) == (0.0, 0.0, 0.0)


def test_scores_refuse_unequal_numbers_of_texts() -> None:
    with pytest.raises(ValueError, match="2 gold texts, 1 predicted ones"):
        score_spans([[], []], [[]])


def test_tuples_and_entities_are_scored_by_their_spans() -> None:
    gold = [[(0, 2, "LOC"), Span(3, 4, "PER")]]
    assert score_spans(gold, [[Entity(0, 2, "LOC", 0.7), (3, 5, "PER")]]) == {
        "all": SpanScores(2, 2, 1),
        "LOC": SpanScores(1, 1, 1),
        "PER": SpanScores(1, 1, 0),
    }
