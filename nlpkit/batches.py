"""Batches of things of one length, so that they hold little padding, with a progress bar; and none of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

from tqdm.auto import tqdm

from nlpkit.checked_number import checked_number


def batches_by_length(
    lengths: Sequence[Any], batch_size: int, doing: str, *, show_progress: bool | None
) -> Iterator[list[int]]:
    """Numbers of things in batches, the longest first, so that what does not fit in memory fails at once.

    Args:
        lengths: of each thing, or whatever else it is sorted by; those of one length stay in order.
        batch_size: things per batch.
        doing: what the progress bar says.
        show_progress: draw it, where there is a terminal; ``None`` draws it after three
            seconds, and wipes it at the end.

    Returns:
        The batches, each with the numbers of its things.

    Raises:
        TypeError: ``batch_size`` is no whole number.
        ValueError: it is below 1. Both come at once, not with the first batch.

    Example:
        >>> list(batches_by_length([1, 3, 2], 2, "reading", show_progress=False))
        [[1, 2], [0]]
    """
    checked_number("batch_size", batch_size, least=1, whole=True)
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)  # stable: reverse keeps equal ones
    starts = range(0, len(order), batch_size)
    settings: dict[str, Any] = {"disable": None if show_progress else True}
    if show_progress is None:
        settings = {"delay": 3, "leave": False}
    bar = tqdm(starts, desc=doing, unit="batch", **settings)
    return (order[start : start + batch_size] for start in bar)


def refuse_no_rows(rows: Sized) -> None:
    """See that a batch can be made.

    Args:
        rows: as a collator is given them.

    Raises:
        ValueError: there are none.

    Example:
        >>> refuse_no_rows([])
        Traceback (most recent call last):
        ValueError: no rows to make a batch of; give at least one
    """
    if not len(rows):
        raise ValueError("no rows to make a batch of; give at least one")
