"""How many links are right: mentions alone, entities where the mention is given, and both together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nlpkit.labels.spans import Span, SpanScores, score_spans
from nlpkit.tasks.linking.link import Link


class LinkReport(NamedTuple):
    """Exact-match scores of a corpus.

    Args:
        mentions: start and end agree, whatever the entity.
        links: start, end and entity agree: end to end.
    """

    mentions: SpanScores
    links: SpanScores


def score_links(gold: Sequence[Iterable[Link]], predicted: Sequence[Iterable[Link]]) -> LinkReport:
    """Compare the links of a corpus with gold ones.

    Source: the rules of the contest that kexue.fm/archives/6919 took part in, CCKS 2019: F1 over all texts of exact
    mentions with the right entity.

    Args:
        gold: of each text; each counts once.
        predicted: of each text, in the same order; probabilities are not looked at.

    Returns:
        The scores.

    Raises:
        ValueError: there are no texts, not as many on both sides, or a gold link to ``None``.

    Example:
        >>> report = score_links([[Link(0, 2, "苹果", "Q1")]], [[Link(0, 2, "苹果", "Q2"), Link(3, 4, "好", "Q3")]])
        >>> report.mentions.f1, report.links.f1
        (0.666..., 0.0)
    """
    if not gold:
        raise ValueError("there are no texts to score")
    _refuse_no_links(gold)
    return LinkReport(
        *(
            score_spans([label(row) for row in gold], [label(row) for row in predicted])["all"]
            for label in (_as_mentions, _as_links)
        )
    )


def link_accuracy(gold: Sequence[Sequence[Link]], chosen: Sequence[Sequence[str | None]]) -> float:
    """The share of gold mentions for which the right entity is chosen.

    Args:
        gold: of each text.
        chosen: for each of them, as ``EntityLinker.choose`` gives it; ``None`` is wrong.

    Returns:
        In [0, 1]; NaN where there are no mentions.

    Raises:
        ValueError: there are not as many answers as mentions, or a gold link to ``None``.

    Example:
        >>> link_accuracy([[Link(0, 2, "苹果", "Q1"), Link(3, 5, "北京", "Q4")]], [["Q1", None]])
        0.5
    """
    _refuse_no_links(gold)
    if [len(row) for row in gold] != [len(row) for row in chosen]:
        raise ValueError("gold mentions and answers differ in number; give one answer per mention, None for none")
    pairs = [
        (link.entity, entity)
        for links, entities in zip(gold, chosen, strict=True)
        for link, entity in zip(links, entities, strict=True)
    ]
    return sum(wanted == found for wanted, found in pairs) / len(pairs) if pairs else float("nan")


def _refuse_no_links(gold: Iterable[Iterable[Link]]) -> None:
    for number, row in enumerate(gold):
        for link in row:
            if link.entity is None:
                raise ValueError(f"gold text {number} has {link}, which is no link; leave it out, as read_links does")


def _as_mentions(links: Iterable[Link]) -> list[Span]:
    return [Span(link.start, link.end, "mention") for link in links]


def _as_links(links: Iterable[Link]) -> list[Span]:
    return [Span(link.start, link.end, link.entity) for link in links]
