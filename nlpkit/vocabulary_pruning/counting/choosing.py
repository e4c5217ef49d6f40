"""Which tokens to keep, by how often they occur."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from nlpkit.checked_number import checked_number

Needs = Callable[[int], Iterable[int]]


def closed(ids: Iterable[int], needs: Needs) -> set[int]:
    """Ids with all that they need.

    Example:
        >>> sorted(closed([4], lambda number: range(number - 1)))
        [0, 1, 2, 4]
    """
    kept = set(ids)
    return kept.union(*map(needs, kept))


def check_choice(
    kept: int, *, min_count: int | None, coverage: float | None, size: int | None, multiple_of: int
) -> None:
    """Refuse what ``choose_tokens`` cannot do, before anything is counted.

    Args:
        kept: how many tokens are always kept.
        min_count: as for ``choose_tokens``; so are the others.
        coverage: likewise.
        size: likewise.
        multiple_of: likewise.

    Raises:
        TypeError, ValueError: as of ``choose_tokens``.
    """
    given = {"min_count": min_count, "coverage": coverage, "size": size}
    if sum(value is not None for value in given.values()) != 1:
        got = " and ".join(f"{name}={value}" for name, value in given.items() if value is not None) or "none"
        raise ValueError(f"give one of min_count, coverage and size; got {got}")
    checked_number("multiple_of", multiple_of, least=1, whole=True)
    if min_count is not None:
        checked_number("min_count", min_count, least=1, whole=True)
    if coverage is not None:
        checked_number("coverage", coverage, above=0, most=1, hint="it is a share of the corpus's tokens")
    if size is not None and checked_number("size", size, least=1, whole=True) < kept:
        raise ValueError(
            f"size={size} is below {kept}, the tokens that are always kept (special and added tokens, bytes, digits, "
            "and what they are made of)"
        )


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
        TypeError: what is given is no number, or a fraction where it must be whole.
        ValueError: not one of the three is given, one is out of its range, or ``size`` has no room for what is always
            kept.

    Example:
        >>> choose_tokens(np.array([9, 0, 5, 1]), [1], lambda number: (), coverage=0.9)
        [0, 1, 2]
    """
    kept = closed(always, needs)
    check_choice(len(kept), min_count=min_count, coverage=coverage, size=size, multiple_of=multiple_of)
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
