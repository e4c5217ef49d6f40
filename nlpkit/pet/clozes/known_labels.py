"""What is said of labels that are missing, or that are the same for all examples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

#: The labels of each example; ``None`` where they are not known.
KnownLabels = Sequence[tuple[str, ...] | None]


def refuse_no_labels(labels: KnownLabels, given: bool, how: str) -> None:
    """Refuse examples none of which has a label.

    Args:
        labels: of the examples.
        given: whether the user gave labels, all of which are missing.
        how: to give labels, for the message.

    Raises:
        ValueError: there are no examples, or no labels.
    """
    if not labels:
        raise ValueError("no examples; give at least one text with a label")
    if any(own is not None for own in labels):
        return
    if not given:
        raise ValueError(f"no labels: {how}")
    which = "the only row has no label" if len(labels) == 1 else f"none of the {len(labels)} rows has a label"
    raise ValueError(f"{which}; give labels that are not None or NaN")


def refuse_unlabelled(labels: KnownLabels) -> None:
    """Refuse to measure by examples some of which have no label.

    Args:
        labels: of the examples.

    Raises:
        ValueError: the labels of one are not known; the message names the first.

    Example:
        >>> refuse_unlabelled([("good",), None])
        Traceback (most recent call last):
        ValueError: y contains no label for row 1 (None or NaN; 1 of 2 rows): each row to measure by needs one, so
        leave such rows out
    """
    if missing := [number for number, own in enumerate(labels) if own is None]:
        raise ValueError(
            f"y contains no label for row {missing[0]} (None or NaN; {len(missing)} of {_rows(len(labels))}): each "
            "row to measure by needs one, so leave such rows out"
        )


def warn_of_unlabelled(labels: KnownLabels, fate: str, stacklevel: int = 3) -> None:
    """Say how many examples have no label, to the caller's caller.

    Args:
        labels: of the examples.
        fate: what becomes of those without.
        stacklevel: as for ``warnings.warn``.
    """
    if missing := sum(own is None for own in labels):
        have = "has" if missing == 1 else "have"
        warnings.warn(f"{missing} of {_rows(len(labels))} {have} no label: {fate}", stacklevel=stacklevel)


def warn_of_training_labels(labels: KnownLabels, has_choice: bool) -> None:
    """Say of examples to be trained on how many have no label, or that all have the same, to the caller's caller.

    Args:
        labels: of the examples.
        has_choice: whether labels are common to all examples, so that the same one means the same answer.
    """
    fate = "losses over labels pass over such rows; objectives that use texts alone take them as unlabelled=[...]"
    warn_of_unlabelled(labels, fate, stacklevel=4)
    known = [own for own in labels if own is not None]
    if has_choice and len(set(map(frozenset, known))) == 1:
        shown = ", ".join(map(repr, known[0])) or "none"
        warnings.warn(
            f"the label of all {_rows(len(known))} is {shown}, so that fit learns to answer nothing else; give "
            "examples of other labels, too",
            stacklevel=3,
        )


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
