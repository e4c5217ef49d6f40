"""Which slices of one or two token sequences make up the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlpkit.wobert.tokenizing.encoding import Side
from nlpkit.wobert.words.word_splitter import Span


class Truncation(NamedTuple):
    """How sequences are cut.

    ``strategy`` is one of transformers' names (``"longest_first"``, ``"only_first"``, ``"only_second"``);
    ``max_length`` counts the tokens of the texts alone.
    """

    strategy: str
    max_length: int
    stride: int = 0
    side: Side = "right"


def rows(lengths: Sequence[int], truncation: Truncation) -> list[tuple[Span, ...]]:
    """Slices for each row that one or two sequences make: first the row that stays, then those that overflow.

    Args:
        lengths: tokens of each sequence.
        truncation: the limit and how it is met.

    Returns:
        For each row one slice ``(begin, stop)`` a sequence, in the order of the Rust tokenizers.

    Raises:
        ValueError: the sequence to be cut is too short for it, or the stride leaves no room to move on.

    Example:
        >>> rows([5, 2], Truncation("only_first", max_length=5))
        [((0, 3), (0, 2)), ((3, 5), (0, 2))]
    """
    excess = sum(lengths) - truncation.max_length
    limits = list(lengths) if excess <= 0 else _limits(lengths, excess, truncation)
    slices = [
        windows(length, limit, truncation.stride, truncation.side)
        for length, limit in zip(lengths, limits, strict=True)
    ]
    if len(slices) == 1:
        return [(span,) for span in slices[0]]
    first, second = slices
    overflowing = [(mine, other) for mine in first[1:] for other in second]
    return [(first[0], second[0]), *overflowing, *((first[0], other) for other in second[1:])]


def windows(length: int, limit: int, stride: int, side: Side) -> list[Span]:
    """Slices of at most ``limit`` tokens that cover a sequence, neighbours sharing ``stride`` tokens.

    Args:
        length: tokens of the sequence.
        limit: tokens of a slice.
        stride: tokens that stand in two neighbouring slices.
        side: where the sequence is cut; the first slice is the one at the other end.

    Returns:
        ``(begin, stop)`` of each slice; the first is what stays in the row, the others overflow.

    Raises:
        ValueError: ``stride`` does not leave room to move on.

    Example:
        >>> windows(7, 4, 1, "right")
        [(0, 4), (3, 7)]
        >>> windows(7, 4, 1, "left")
        [(3, 7), (0, 4)]
    """
    if length <= limit:
        return [(0, length)]
    if limit == 0:
        return [(0, 0), (0, length)]
    if stride >= limit:
        raise ValueError(
            f"stride={stride} must be smaller than the {limit} tokens left for the text;"
            " raise max_length or lower stride"
        )
    slices: list[Span] = []
    while not slices or slices[-1][1] < length:
        begin = len(slices) * (limit - stride)
        slices.append((begin, min(begin + limit, length)))
    return slices if side == "right" else [(length - stop, length - begin) for begin, stop in slices]


def _limits(lengths: Sequence[int], excess: int, truncation: Truncation) -> list[int]:
    if truncation.strategy == "longest_first":
        return _share(lengths, truncation.max_length)
    target = 0 if truncation.strategy == "only_first" else 1
    if target >= len(lengths) or lengths[target] <= excess:
        raise ValueError(
            f"truncation={truncation.strategy!r} cannot remove {excess} tokens to reach max_length"
            f" (texts of {' and '.join(map(str, lengths))} tokens); use 'longest_first' or a larger max_length"
        )
    return [length - excess * (number == target) for number, length in enumerate(lengths)]


def _share(lengths: Sequence[int], limit: int) -> list[int]:
    if len(lengths) == 1:
        return [limit]
    shorter = min(lengths)
    other = max(shorter, limit - shorter)
    if shorter + other > limit:
        shorter, other = limit // 2, limit - limit // 2
    return [shorter, other] if lengths[0] <= lengths[1] else [other, shorter]
