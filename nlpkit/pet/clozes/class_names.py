"""Labels that a data set of ``datasets`` holds as the numbers of their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def class_names(source: Any, column: str | None = None) -> tuple[str, ...]:
    """The names of a column of ``ClassLabel`` or of lists of them, in the order of their numbers.

    Args:
        source: a ``datasets.Dataset``, or a column of one; anything else has none.
        column: of the data set.

    Example:
        >>> from datasets import ClassLabel, Dataset
        >>> class_names(Dataset.from_dict({"a": [1]}).cast_column("a", ClassLabel(names=["no", "yes"])), "a")
        ('no', 'yes')
    """
    feature: Any = getattr(source, "features", None)
    if isinstance(feature, Mapping):
        feature = feature.get(column)
    if type(feature).__name__ != "ClassLabel":
        feature = getattr(feature, "feature", None)
    return tuple(feature.names) if type(feature).__name__ == "ClassLabel" else ()  # without importing datasets


def named(values: Sequence[Any], names: Sequence[str], labels: Sequence[str]) -> list[Any]:
    """Numbers as the names that they stand for, if it is the names that are labels.

    Args:
        values: numbers; -1, which says in ``datasets`` that a label is not known, becomes ``None``.
        names: of the numbers; none where values are no numbers of names.
        labels: all labels there are. Where they are the numbers and not the names, numbers stay.

    Example:
        >>> named([1, -1], ["no", "yes"], ["yes", "no"]), named([1, -1], ["no", "yes"], ["0", "1"])
        (['yes', None], [1, None])
    """
    if not names:
        return list(values)
    are_names = bool(set(names) & set(labels)) and (
        set(names) <= set(labels) or not {str(number) for number in range(len(names))} <= set(labels)
    )
    return [None if one == -1 else names[one] if are_names and isinstance(one, int) else one for one in values]
