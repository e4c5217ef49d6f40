"""Labelled spans of characters, their BIO form, and the exact-match scores that named-entity recognition reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A labelled half-open range of characters: an entity, or a word of a segmentation.

    Args:
        start: first character.
        end: one past the last character.
        label: the type, e.g. ``"PER"``.
    """

    start: int
    end: int
    label: str


def bio_to_spans(labels: Sequence[str]) -> list[Span]:
    """Read the spans out of BIO labels.

    Source: the IOB2 scheme, read as the CoNLL-2000 scorer reads it: an ``I-X`` that does not follow ``B-X`` or
    ``I-X`` starts a span, because a tagger may emit one.

    Args:
        labels: ``"O"``, ``"B-X"`` or ``"I-X"``, one per character (or per token).

    Returns:
        The spans in order, none overlapping.

    Raises:
        ValueError: a label is none of the three.

    Example:
        >>> bio_to_spans(["B-PER", "I-PER", "O", "B-LOC"])
        [Span(start=0, end=2, label='PER'), Span(start=3, end=4, label='LOC')]
    """
    spans: list[Span] = []
    open_span: Span | None = None
    for index, label in enumerate(labels):
        prefix, _, name = label.partition("-")
        if label != "O" and (prefix not in ("B", "I") or not name):
            raise ValueError(f"label {index} is {label!r}; BIO labels are 'O', 'B-<type>' and 'I-<type>'")
        if open_span is not None and prefix == "I" and name == open_span.label:
            open_span = open_span._replace(end=index + 1)
            continue
        if open_span is not None:
            spans.append(open_span)
        open_span = None if label == "O" else Span(index, index + 1, name)
    return spans if open_span is None else [*spans, open_span]


def spans_to_bio(spans: Iterable[Span], length: int) -> list[str]:
    """Write spans as BIO labels.

    Args:
        spans: in any order, not overlapping, each at least one character long.
        length: number of characters.

    Returns:
        ``length`` labels.

    Raises:
        ValueError: a span is empty, lies outside the text, or overlaps another.

    Example:
        >>> spans_to_bio([Span(1, 3, "ORG")], 4)
        ['O', 'B-ORG', 'I-ORG', 'O']
    """
    labels = ["O"] * length
    for start, end, name in spans:
        if not 0 <= start < end <= length:
            raise ValueError(f"span {(start, end, name)} does not lie in a text of {length} characters")
        taken = next((index for index in range(start, end) if labels[index] != "O"), None)
        if taken is not None:
            raise ValueError(
                f"span {(start, end, name)} overlaps another at character {taken}; BIO holds flat spans only"
            )
        labels[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    return labels


@dataclass(frozen=True)
class SpanScores:
    """Exact-match counts of predicted spans against gold ones, and the scores that follow from them.

    Args:
        gold: spans in the references.
        predicted: spans in the predictions.
        correct: predictions with the start, end and label of a gold span.
    """

    gold: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float:
        """Share of the predictions that are right, in [0, 1]; 0 when nothing was predicted."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found, in [0, 1]; 0 when there are none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        return 2 * self.correct / (self.gold + self.predicted) if self.gold + self.predicted else 0.0


def score_spans(gold: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> dict[str, SpanScores]:
    """Count exact matches over a corpus, for all labels together and for each.

    Source: entity-level F1 of CoNLL-2003: a prediction counts when its start, end and type all agree.

    Args:
        gold: the reference spans of each text; other tuples that begin with start, end and label will do.
        predicted: the predicted spans of each text, in the same order.

    Returns:
        ``"all"`` (micro-average) and every label that occurs, mapped to its scores.

    Raises:
        ValueError: the two hold different numbers of texts.

    Example:
        >>> scores = score_spans([[Span(0, 2, "PER"), Span(4, 5, "LOC")]], [[Span(0, 2, "PER"), Span(3, 5, "LOC")]])
        >>> scores["all"].f1, scores["PER"].f1
        (0.5, 1.0)
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold texts, {len(predicted)} predicted ones; give one prediction per text")
    counts = {name: Counter[str]() for name in ("gold", "predicted", "correct")}
    for gold_spans, predicted_spans in zip(gold, predicted, strict=True):
        wanted, found = ({Span(*span[:3]) for span in spans} for spans in (gold_spans, predicted_spans))
        for name, spans in (("gold", wanted), ("predicted", found), ("correct", wanted & found)):
            counts[name].update(span.label for span in spans)
    by_label = {
        label: SpanScores(*(counts[name][label] for name in ("gold", "predicted", "correct")))
        for label in sorted(counts["gold"] | counts["predicted"])
    }
    total = SpanScores(*(counts[name].total() for name in ("gold", "predicted", "correct")))
    return {"all": total, **by_label}
