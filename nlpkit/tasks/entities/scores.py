"""How many entities were found: exact spans, in all and by type, averaged as seqeval does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nlpkit.labels.spans import Span, SpanScores, score_spans
from nlpkit.tasks.entities.entity import Entity
from nlpkit.tasks.entities.texts.units import as_span

Scored = Span | Entity | tuple[int, int, str] | Mapping[str, Any]


class Average(NamedTuple):
    """Means over types of what each type has.

    Args:
        precision: in [0, 1].
        recall: likewise.
        f1: likewise, the mean of the types' F1 and not the F1 of the means.
    """

    precision: float
    recall: float
    f1: float


class EntityReport(NamedTuple):
    """Exact-match scores of a corpus.

    Args:
        micro: of all entities alike: what papers report as F1.
        by_type: of each type that occurs in gold or predictions.
        macro: means over the types.
        weighted: the same, each type weighted by its gold entities.
    """

    micro: SpanScores
    by_type: dict[str, SpanScores]
    macro: Average
    weighted: Average

    def table(self) -> str:
        """A table in Markdown, in percent."""
        rows: list[tuple[str, SpanScores | Average, int]]
        rows = [(name, scores, scores.gold) for name, scores in self.by_type.items()]
        total = self.micro.gold
        rows += [("micro", self.micro, total), ("macro", self.macro, total), ("weighted", self.weighted, total)]
        lines = ["| type | precision | recall | F1 | gold |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, scores, gold in rows:
            numbers = (f"{100 * value:.2f}" for value in (scores.precision, scores.recall, scores.f1))
            lines.append(f"| {name} | {' | '.join(numbers)} | {gold} |")
        return "\n".join(lines) + "\n"


def score_entities(gold: Sequence[Iterable[Scored]], predicted: Sequence[Iterable[Scored]]) -> EntityReport:
    """Compare the entities of a corpus with gold ones: start, end and type must all agree.

    Source: CoNLL-2003; the averages are those of the package seqeval (in its default mode), to which they are equal.
    Shares of nothing are 0, and so is an average over no type at all, which is NaN there.

    Args:
        gold: of each text, nested and overlapping ones included; each counts once. Triples and mappings are taken.
        predicted: of each text, in the same order; probabilities are not looked at.

    Returns:
        The scores.

    Raises:
        ValueError: there are no texts, or not as many on both sides.

    Example:
        >>> gold = [[Span(0, 2, "PER"), Span(4, 5, "LOC")]]
        >>> print(score_entities(gold, [[Entity(0, 2, "PER", 0.9), Entity(3, 5, "LOC", 0.8)]]).table())
        | type | precision | recall | F1 | gold |
        | --- | ---: | ---: | ---: | ---: |
        | LOC | 0.00 | 0.00 | 0.00 | 1 |
        | PER | 100.00 | 100.00 | 100.00 | 1 |
        | micro | 50.00 | 50.00 | 50.00 | 2 |
        | macro | 50.00 | 50.00 | 50.00 | 2 |
        | weighted | 50.00 | 50.00 | 50.00 | 2 |
        <BLANKLINE>
    """
    if not gold:
        raise ValueError("there are no texts to score")
    by_type = score_spans(_spans(gold), _spans(predicted))
    micro = by_type.pop("all")
    equal = [1 / len(by_type)] * len(by_type) if by_type else []
    shares = [scores.gold / micro.gold if micro.gold else 0.0 for scores in by_type.values()]
    rows = list(by_type.values())
    return EntityReport(micro, by_type, _average(rows, equal), _average(rows, shares))


def _spans(texts: Sequence[Iterable[Scored]]) -> list[list[Span]]:
    return [[one.span if isinstance(one, Entity) else as_span(one) for one in row] for row in texts]


def _average(rows: Sequence[SpanScores], weights: Sequence[float]) -> Average:
    pairs = list(zip(rows, weights, strict=True))
    return Average(
        sum(weight * row.precision for row, weight in pairs),
        sum(weight * row.recall for row, weight in pairs),
        sum(weight * row.f1 for row, weight in pairs),
    )
