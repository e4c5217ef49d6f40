"""Which of many mentions go together: the best ones that do not overlap, exactly."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from nlpkit.checked_number import checked_number
from nlpkit.tasks.linking.link import Link
from nlpkit.tasks.linking.mentions.candidates import Mention


def choose_spans(spans: Sequence[tuple[int, int]], gains: Sequence[float], *, most: int | None = None) -> list[int]:
    """Choose spans that do not overlap so that their gains have the largest sum, by dynamic programming.

    Source: weighted interval scheduling, Kleinberg and Tardos, *Algorithm Design*, 2005, section 6.1.

    Args:
        spans: start and end, one past the last character, of each.
        gains: what choosing each one brings; those that are not above 0 are never chosen.
        most: spans to choose at most; ``None`` means any number.

    Returns:
        Numbers of the chosen spans, from left to right. Of equal sums the one that covers more characters.

    Raises:
        ValueError: a span is empty, a gain is no finite number, there are not as many of both, or ``most`` is below 1.

    Note:
        n log n steps for n spans, and n times ``most`` where it is given.

    Example:
        >>> choose_spans([(0, 2), (0, 4), (2, 5), (3, 4)], [1.0, 2.0, 1.5, -1.0])
        [0, 2]
        >>> choose_spans([(0, 2), (0, 4), (2, 5), (3, 4)], [1.0, 2.0, 1.5, -1.0], most=1)
        [1]
    """
    if len(spans) != len(gains):
        raise ValueError(f"{len(spans)} spans and {len(gains)} gains; give one gain per span")
    if most is not None:
        checked_number("most", most, least=1, whole=True, hint="or None for any number")
    for (start, end), gain in zip(spans, gains, strict=True):
        if not start < end:
            raise ValueError(f"span {(start, end)} is empty")
        if not math.isfinite(gain):
            raise ValueError(f"the gain of span {(start, end)} is {gain}; gains must be finite numbers")
    order = sorted((number for number, gain in enumerate(gains) if gain > 0), key=lambda number: spans[number][1])
    ends = [spans[number][1] for number in order]
    layers = min(len(order), most) if most is not None else 1
    # best[layer][n]: the largest sum, and the characters covered, of at most `layer` of the first n spans; without a
    # limit there is one layer, which goes on from itself.
    best = [[(0.0, 0)] * (len(order) + 1) for _ in range(layers + 1)]
    taken = [[False] * (len(order) + 1) for _ in range(layers + 1)]
    before = [bisect_right(ends, spans[number][0], hi=place) for place, number in enumerate(order)]
    for layer in range(1, layers + 1):
        below = layer if most is None else layer - 1
        for place, number in enumerate(order):
            total, covered = best[below][before[place]]
            start, end = spans[number]
            with_it = (total + gains[number], covered + end - start)
            taken[layer][place + 1] = with_it > best[layer][place]
            best[layer][place + 1] = max(with_it, best[layer][place])
    chosen, layer, place = [], layers, len(order)
    while layer and place:
        if taken[layer][place]:
            chosen.append(order[place - 1])
            place, layer = before[place - 1], layer if most is None else layer - 1
        else:
            place -= 1
    return chosen[::-1]


def choose_links(
    text: str,
    mentions: Sequence[Mention],
    log_probabilities: Sequence[Sequence[float]],
    *,
    threshold: float = 0.5,
    most: int | None = None,
) -> list[Link]:
    """The most probable way to link a text.

    Each mention is linked to one of its candidates or to nothing (NIL), each by itself, on the condition that links do
    not overlap. The probability of it all is a product, which is largest where the sum of
    ``log p(entity) - log p(NIL)`` over the links is.

    Args:
        text: in which the mentions stand.
        mentions: as ``find_mentions`` finds them.
        log_probabilities: of each mention, of NIL first and then of its entities.
        threshold: least probability of the entity beside NIL alone, ``p(entity) / (p(entity) + p(NIL))``.
        most: links at most.

    Returns:
        The links, from left to right.

    Raises:
        ValueError: the threshold is no probability between 0 and 1, or as of ``choose_spans``.

    Example:
        >>> mentions = [Mention(0, 2, ("Q1", "Q2"), 0.5, (0.5, 0.5)), Mention(0, 4, ("Q3",), 0.5, (1.0,))]
        >>> logs = [[math.log(p) for p in row] for row in ([0.2, 0.1, 0.7], [0.5, 0.5])]
        >>> choose_links("北京大学", mentions, logs)
        [Link(start=0, end=2, mention='北京', entity='Q2', score=0.7)]
    """
    checked_number("threshold", threshold, above=0, below=1, hint="it is a probability")
    least = math.log(threshold) - math.log1p(-threshold)
    best = [max(range(1, len(row)), key=row.__getitem__) for row in log_probabilities]
    gains = [row[place] - row[0] - least for row, place in zip(log_probabilities, best, strict=True)]
    chosen = choose_spans([(mention.start, mention.end) for mention in mentions], gains, most=most)
    return [
        Link(
            mentions[number].start,
            mentions[number].end,
            text[mentions[number].start : mentions[number].end],
            mentions[number].entities[best[number] - 1],
            math.exp(log_probabilities[number][best[number]]),
        )
        for number in chosen
    ]
