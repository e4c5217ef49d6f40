"""Scores of exact spans, against the package that everybody compares with."""

from __future__ import annotations

import math
import random

import pytest

from nlpkit.labels import Span, bio_to_spans
from nlpkit.tasks.entities import Entity, score_entities

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ORG", "I-ORG"]


def drawn(seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Labels of several texts, of which the second ones are the first with some changed; any order, BIO or not."""
    chance = random.Random(seed)
    gold = [
        chance.choices(LABELS, [6, 2, 3, 1, 2, 1, 1], k=chance.randint(1, 12)) for _ in range(chance.randint(1, 6))
    ]
    other = [[chance.choice(LABELS) if chance.random() < 0.3 else label for label in row] for row in gold]
    return gold, other


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", [0, 100])
def test_averages_are_those_of_seqeval(first: int) -> None:
    metrics = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="install the extra 'dev'")
    for seed in range(first, first + 100):
        gold, found = drawn(seed)
        report = score_entities([bio_to_spans(row) for row in gold], [bio_to_spans(row) for row in found])
        for name in ("micro", "macro", "weighted"):
            own = getattr(report, name)
            theirs = metrics.precision_recall_fscore_support(gold, found, average=name, zero_division=0)
            wanted = [0.0 if math.isnan(score) else score for score in theirs[:3]]  # the mean over no type at all
            assert [own.precision, own.recall, own.f1] == pytest.approx(wanted, abs=1e-12), (seed, name)
        theirs = metrics.classification_report(gold, found, output_dict=True, zero_division=0)
        for label, scores in report.by_type.items():
            assert scores.f1 == pytest.approx(theirs[label]["f1-score"], abs=1e-12)
            assert scores.gold == theirs[label]["support"]


def test_nested_entities_count_each_and_once() -> None:
    gold = [[Span(0, 4, "ORG"), Span(0, 2, "LOC"), Span(0, 2, "LOC")]]
    report = score_entities(gold, [[Entity(0, 4, "ORG", 0.9), Entity(0, 2, "ORG", 0.8)]])
    assert (report.micro.gold, report.micro.predicted, report.micro.correct) == (2, 2, 1)


def test_nothing_to_score_is_refused_and_nothing_found_is_0() -> None:
    with pytest.raises(ValueError, match="there are no texts to score"):
        score_entities([], [])
    with pytest.raises(ValueError, match="1 gold texts, 2 predicted ones"):
        score_entities([[]], [[], []])
    report = score_entities([[]], [[]])
    assert (report.micro.f1, report.macro.f1, report.weighted.f1, report.by_type) == (0, 0, 0, {})


def test_spans_are_scored_as_the_collator_takes_them() -> None:
    report = score_entities([[{"start": 0, "end": 2, "label": "X"}]], [[(0, 2, "X")]])
    assert report.micro.f1 == 1
