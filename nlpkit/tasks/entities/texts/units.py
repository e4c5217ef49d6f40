"""Between spans of characters and the units of a model, which are tokens or characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nlpkit.checked_number import checked_number
from nlpkit.labels.spans import Span, bio_to_spans

Offsets = Sequence[tuple[int, int]]


class UnitRange(NamedTuple):
    """An entity as units.

    Args:
        first: unit.
        last: unit, the entity's own.
        label: the type.
    """

    first: int
    last: int
    label: str


def read_spans(example: Mapping[str, Any]) -> list[Span] | None:
    """The spans of an example, in order, each once.

    Args:
        example: ``text``; and ``spans`` (triples of start, end and type, or mappings with ``start``, ``end`` and
            ``label``), or ``labels`` (BIO, one per character), or neither.

    Returns:
        The spans; ``None`` where there are neither.

    Raises:
        TypeError: ``text`` is no string, or a span is no such triple.
        ValueError: there are both, or not as many labels as characters, or a span does not lie in the text.

    Example:
        >>> read_spans({"text": "在北京", "spans": [[1, 3, "LOC"]]})
        [Span(start=1, end=3, label='LOC')]
    """
    text = example.get("text")
    if not isinstance(text, str):
        raise TypeError(f"an example needs a string as its 'text', not {type(text).__name__}")
    labels, spans = example.get("labels"), example.get("spans")
    if labels is not None and spans is not None:
        raise ValueError("an example has both 'labels' and 'spans'; give one")
    if labels is not None:
        if not isinstance(labels, Sequence) or not all(isinstance(label, str) for label in labels):
            raise TypeError(f"labels is {labels!r}; give a list of BIO labels, one per character")
        if len(labels) != len(text):
            raise ValueError(f"{len(labels)} labels for {len(text)} characters; white space counts")
        return bio_to_spans(labels)
    if spans is None:
        return None
    if not isinstance(spans, Iterable) or isinstance(spans, str):
        raise TypeError(f"spans is {spans!r}; give a list, [] where there are none")
    found = {as_span(span) for span in spans}
    for span in found:
        if not 0 <= span.start < span.end <= len(text):
            raise ValueError(f"span {tuple(span)} does not lie in a text of {len(text)} characters")
    return sorted(found)


def as_span(given: Any) -> Span:
    """A span out of a triple of start, end and type, or a mapping with ``start``, ``end`` and ``label``.

    Raises:
        TypeError: it is neither.
    """
    try:
        start, end, label = (given[name] for name in Span._fields) if isinstance(given, Mapping) else given
    except (KeyError, TypeError, ValueError):
        raise TypeError(f"span {given!r} must be (start, end, type), or have start, end and label") from None
    if not isinstance(label, str):
        raise TypeError(f"span {given!r} must be two whole numbers, start and end, and the name of a type")
    for place in (start, end):
        checked_number(f"span {given!r} must be two whole numbers and a type; its place", place, whole=True)
    return Span(int(start), int(end), label)


def outermost(spans: Iterable[Span]) -> list[Span]:
    """The longest spans that do not overlap, of two of the same length the first: what flat labels can hold.

    Example:
        >>> outermost([Span(0, 2, "LOC"), Span(0, 4, "ORG"), Span(3, 6, "PER")])
        [Span(start=0, end=4, label='ORG')]
    """
    taken: set[int] = set()
    kept = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
        if taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append(span)
    return sorted(kept)


def overlapping(spans: Sequence[Span]) -> tuple[Span, Span] | None:
    """Two spans that overlap, if there are any."""
    ordered = sorted(spans)
    reaching = ordered[:1]
    for span in ordered[1:]:
        if span.start < reaching[0].end:
            return reaching[0], span
        reaching = [span]
    return None


def to_units(spans: Iterable[Span], offsets: Offsets) -> list[UnitRange]:
    """Each span as the units that it touches; one that touches none is left out.

    Args:
        spans: of characters.
        offsets: the characters of each unit, ascending; empty for positions that are none.

    Returns:
        In the order of the spans.

    Example:
        >>> to_units([Span(0, 3, "LOC"), Span(5, 6, "PER")], [(0, 0), (0, 2), (2, 4), (0, 0)])
        [UnitRange(first=1, last=2, label='LOC')]
    """
    units = [(start, end, place) for place, (start, end) in enumerate(offsets) if start < end]
    found = []
    for span in spans:
        touched = [place for start, end, place in units if start < span.end and end > span.start]
        if touched:
            found.append(UnitRange(touched[0], touched[-1], span.label))
    return found


def beside_units(spans: Iterable[Span], offsets: Offsets) -> list[Span]:
    """The spans that begin or end inside a unit, or touch none: no units are theirs alone.

    Args:
        spans: of characters.
        offsets: as for ``to_units``.

    Example:
        >>> beside_units([Span(0, 2, "LOC"), Span(1, 4, "ORG"), Span(4, 5, "PER")], [(0, 2), (2, 4)])
        [Span(start=1, end=4, label='ORG'), Span(start=4, end=5, label='PER')]
    """
    inside = {place for start, end in offsets for place in range(start + 1, end)}
    covered = {place for start, end in offsets for place in range(start, end)}
    return [
        span
        for span in spans
        if span.start in inside or span.end in inside or covered.isdisjoint(range(span.start, span.end))
    ]


def to_characters(first: int, last: int, offsets: Offsets, text: str) -> tuple[int, int]:
    """The characters from a unit to another, without white space at either end.

    Args:
        first: unit.
        last: unit.
        offsets: the characters of each unit.
        text: that they are of.

    Returns:
        Start and end.

    Example:
        >>> to_characters(0, 1, [(0, 2), (2, 6)], "in New York")
        (0, 6)
        >>> to_characters(1, 1, [(0, 2), (2, 6)], "in New York")
        (3, 6)
    """
    start, end = offsets[first][0], offsets[last][1]
    inside = text[start:end]
    if not inside.strip():
        return start, end
    return start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())


def without_blanks(offsets: Offsets, text: str) -> list[tuple[int, int]]:
    """Tokens without the white space at their ends, which byte pairs and SentencePiece put there.

    Args:
        offsets: the characters of each token.
        text: that they are of.

    Returns:
        As many; empty for tokens of white space alone.

    Example:
        >>> without_blanks([(0, 0), (0, 2), (2, 6), (6, 7)], "in New ")
        [(0, 0), (0, 2), (3, 6), (7, 7)]
    """
    found = []
    for start, end in offsets:
        inside = text[start:end]
        begin = min(end, start + len(inside) - len(inside.lstrip()))
        found.append((begin, max(begin, start + len(inside.rstrip()))))
    return found


def bio_labels(ranges: Iterable[UnitRange], length: int) -> list[str]:
    """BIO labels of units; where tokens hold parts of two entities, the first one has them.

    Args:
        ranges: ascending.
        length: number of units.

    Example:
        >>> bio_labels([UnitRange(1, 2, "LOC"), UnitRange(2, 2, "PER")], 4)
        ['O', 'B-LOC', 'I-LOC', 'O']
    """
    labels = ["O"] * length
    for first, last, name in ranges:
        if all(label == "O" for label in labels[first : last + 1]):
            labels[first : last + 1] = [f"B-{name}", *[f"I-{name}"] * (last - first)]
    return labels
