"""What is done to a sentence to test a span of it: replaced by a mask, left alone, or moved to either end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.impact.units import Units

Perturbation = Literal["replaced", "alone", "moved"]
Integers = NDArray[np.int64]

#: In ``Rearrangement.origins``: a token that is not of the sentence's units.
NOT_A_UNIT = -1


class Rearrangement(NamedTuple):
    """A sentence rearranged about a span.

    Args:
        perturbation: what was done to the span.
        start: first unit of the span.
        end: one past the last.
        token_ids: of the whole sequence, special tokens included, shape ``(length,)``.
        origins: where each of the tokens stood in the sentence, ``NOT_A_UNIT`` for masks, commas and special tokens.
    """

    perturbation: Perturbation
    start: int
    end: int
    token_ids: Integers
    origins: Integers


def inner_spans(count: int) -> list[tuple[int, int]]:
    """The spans that a tree can have or lack: of two units or more, without the whole.

    Example:
        >>> inner_spans(4)
        [(0, 2), (1, 3), (2, 4), (0, 3), (1, 4)]
    """
    return [(start, start + width) for width in range(2, count) for start in range(count - width + 1)]


def rearrangements(units: Units, mask_id: int, comma_ids: tuple[int, ...]) -> Iterator[Rearrangement]:
    """All rearrangements of a sentence, four for each span.

    Source: Li and Lu (2023), arXiv 2306.00645, section 3.1: substitution by one mask; decontextualisation; movement
    to the front and to the end, where commas part what did not stand together.

    Args:
        units: the sentence.
        mask_id: the mask token.
        comma_ids: the tokens of a comma.

    Yields:
        For each span of ``inner_spans``: replaced, alone, at the front, at the end.
    """
    ids, owners = np.array(units.token_ids, dtype=np.int64), np.array(units.owners)
    inner = np.flatnonzero(owners >= 0)
    if len(inner) == 0:
        return
    first, last = int(inner[0]), int(inner[-1]) + 1
    begins = np.append(np.searchsorted(owners[first:last], np.arange(len(units))) + first, last)
    places = np.arange(len(ids))
    prefix, suffix = (_foreign(ids[:first]), _foreign(ids[last:]))
    mask, comma = _foreign(np.array([mask_id])), _foreign(np.array(comma_ids, dtype=np.int64))

    def tokens(start: int, end: int) -> NDArray[np.int64]:
        here = slice(begins[start], begins[end])
        return np.stack([ids[here], places[here]])

    for start, end in inner_spans(len(units)):
        left, span, right = tokens(0, start), tokens(start, end), tokens(end, len(units))
        rearranged: list[tuple[Perturbation, list[Integers]]] = [
            ("replaced", [left, mask, right]),
            ("alone", [span]),
            ("moved", _parted(comma, span, left, right)),
            ("moved", _parted(comma, left, right, span)),
        ]
        for perturbation, parts in rearranged:
            sequence = np.concatenate([prefix, *parts, suffix], axis=1)
            yield Rearrangement(perturbation, start, end, sequence[0], sequence[1])


def _foreign(ids: Integers) -> Integers:
    return np.stack([ids, np.full_like(ids, NOT_A_UNIT)])


def _parted(comma: Integers, *parts: Integers) -> list[Integers]:
    """Parts with commas between them; empty ones are left out."""
    present = [part for part in parts if part.shape[1]]
    return [piece for part in present for piece in (comma, part)][1:]
