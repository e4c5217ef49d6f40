"""Names, counts and choices by looking at everything: every substring, every text again, every subset.

Sources: kexue.fm/archives/6919 (names by dictionary, counts of how often they are annotated), Laplace's rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

Span = tuple[int, int]


def all_matches(text: str, names: set[str]) -> list[Span]:
    """Every substring that is a name."""
    spans = [(start, end) for start in range(len(text)) for end in range(start + 1, len(text) + 1)]
    return [(start, end) for start, end in spans if text[start:end] in names]


def longest_matches(text: str, names: set[str]) -> list[Span]:
    """From the left: the longest name that begins here, or one character on."""
    found, place = [], 0
    while place < len(text):
        ends = [end for end in range(place + 1, len(text) + 1) if text[place:end] in names]
        if ends:
            found.append((place, max(ends)))
        place = max(ends, default=place + 1)
    return found


def shares(
    name: str, texts: Sequence[str], links: Sequence[dict[Span, str]], entities: Sequence[str], added: float
) -> tuple[float, list[float]]:
    """How probable a link of a name is, and each entity of it, by looking for the name in every text."""
    places = [
        links[number].get((start, start + len(name)))
        for number, text in enumerate(texts)
        for start in range(len(text))
        if text.startswith(name, start)
    ]
    linked = [entity for entity in places if entity is not None]
    total = sum(linked.count(entity) + added for entity in entities)
    return (
        (len(linked) + added) / (len(places) + 2 * added),
        [(linked.count(entity) + added) / total for entity in entities],
    )


def best_choice(spans: Sequence[Span], gains: Sequence[float], most: int | None = None) -> tuple[float, int]:
    """The largest sum of gains of spans that do not overlap, and the most characters that such a sum covers."""
    best = (0.0, 0)
    for size in range(1, (len(spans) if most is None else most) + 1):
        for chosen in combinations(range(len(spans)), size):
            own = sorted(spans[number] for number in chosen)
            if all(before[1] <= after[0] for before, after in pairwise(own)):
                best = max(best, (sum(gains[number] for number in chosen), sum(end - start for start, end in own)))
    return best
