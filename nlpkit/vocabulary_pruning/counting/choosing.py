"""Which tokens to keep, by how often they occur."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

Needs = Callable[[int], Iterable[int]]


def closed(ids: Iterable[int], needs: Needs) -> set[int]:
    """Ids with all that they need.

    Example:
        >>> sorted(closed([4], lambda number: range(number - 1)))
        [0, 1, 2, 4]
    """
    kept = set(ids)
    return kept.union(*map(needs, kept))


def choose_tokens(
    counts: np.ndarray,
    always: Iterable[int],
    needs: Needs,
    *,
    min_count: int | None = None,
    coverage: float | None = None,
    size: int | None = None,
    multiple_of: int = 1,
) -> list[int]:
    """Choose tokens by their counts, each with what it needs.

    Args:
        counts: occurrences of each id, shape ``(tokens,)``.
        always: ids that are kept whatever their counts.
        needs: for an id, those that are kept with it; what these need is among them.
        min_count: keep ids that occur so often.
        coverage: keep the most frequent ids until this share of all occurrences is kept, in (0, 1].
        size: keep the most frequent ids that have room among so many.
        multiple_of: with ``min_count`` or ``coverage``, further ids are kept, the most frequent first, until their
            number is a multiple of this, as matrix kernels like it.

    Returns:
        Ids, ascending. Of equally frequent ones the lower come first.

    Raises:
        ValueError: not one of the three is given, one is out of its range, or ``size`` has no room for what is always
            kept.

    Example:
        >>> choose_tokens(np.array([9, 0, 5, 1]), [1], lambda number: (), coverage=0.9)
        [0, 1, 2]
    """
    given = {"min_count": min_count, "coverage": coverage, "size": size}
    if sum(value is not None for value in given.values()) != 1:
        raise ValueError(f"give one of min_count, coverage and size; got {given}")
    if min_count is not None and min_count < 1:
        raise ValueError(f"min_count={min_count} must be 1 or more")
    if coverage is not None and not 0 < coverage <= 1:
        raise ValueError(f"coverage={coverage} must be above 0 and at most 1, a share of the corpus's tokens")
    kept = closed(always, needs)
    if size is not None and size < len(kept):
        raise ValueError(
            f"size={size} is below {len(kept)}, the tokens that are always kept (special and added tokens, bytes, "
            "digits, and what they are made of)"
        )
    order = np.lexsort((np.arange(len(counts)), -counts)).tolist()
    seen = [number for number in order if counts[number] > 0]
    if min_count is not None:
        kept |= closed((number for number in seen if counts[number] >= min_count), needs)
    elif coverage is not None:
        missing = coverage * counts.sum() - counts[[number for number in kept if number < len(counts)]].sum()
        for number in seen:
            if missing <= 0:
                break
            more = closed([number], needs) - kept
            missing -= counts[list(more)].sum()
            kept |= more
    else:
        assert size is not None
        _fill(kept, seen, needs, size)
    if size is None and len(kept) % multiple_of:
        _fill(kept, order, needs, len(kept) + -len(kept) % multiple_of)
    return sorted(kept)


def _fill(kept: set[int], order: Iterable[int], needs: Needs, size: int) -> None:
    """Keep further ids in their order, with what they need, as far as they have room."""
    for number in order:
        if len(kept) >= size:
            return
        more = closed([number], needs) - kept
        if len(kept) + len(more) <= size:
            kept |= more
