"""The answers that training rows have, by number: one class per text, or any number of labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from nlpkit.losses import class_priors

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class ClassSet:
    """Classes, in the order of their names, or of their numbers; ``1`` and ``"1"`` are one.

    Args:
        names: of the classes.
        counts: training rows of each, ``(classes,)``.

    Raises:
        ValueError: there are no classes.

    Example:
        >>> classes = ClassSet.of([{"label": "good"}, {"label": "bad"}, {"label": "good"}])
        >>> classes.names, classes.counts.tolist(), classes.numbers([{"label": "good"}, {"label": "new"}]).tolist()
        (('bad', 'good'), [1, 2], [1, -100])
    """

    multi_label: ClassVar[bool] = False
    names: tuple[str, ...]
    counts: Tensor
    priors: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("there is no row to learn a class from")
        labels = torch.arange(len(self.names)).repeat_interleave(self.counts)
        object.__setattr__(self, "priors", class_priors(labels, len(self.names)))

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """The classes of training rows.

        Args:
            rows: with ``label``, a text or a number.

        Raises:
            TypeError: something is no row.
            ValueError: a row has none; the message names it.
        """
        counts = Counter(_class_of(row, place) for place, row in enumerate(_listed(rows)))
        names = _ordered(counts)
        return cls(names, torch.tensor([counts[name] for name in names], dtype=torch.long))

    def numbers(self, rows: Rows) -> Tensor:
        """The number of each row's class, -100 where training has none of it, ``(rows,)``."""
        known = {name: number for number, name in enumerate(self.names)}
        return torch.tensor([known.get(_class_of(row, place), -100) for place, row in enumerate(_listed(rows))])

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a model's head, for ``from_pretrained``."""
        return _head(self.names, "single_label_classification")


@dataclass(frozen=True)
class LabelSet:
    """Labels of which any number applies to a row, in the order of
    their names, or of their numbers; ``1`` and ``"1"`` are one.

    Args:
        names: of the labels.
        counts: training rows of each, ``(labels,)``.
        rows: training rows in all, those without any label among them.

    Raises:
        ValueError: there are no labels.

    Example:
        >>> labels = LabelSet.of([{"labels": ["fear", "joy"]}, {"labels": []}, {"labels": ["joy"]}])
        >>> labels.names, labels.counts.tolist(), labels.numbers([{"labels": ["joy", "new"]}]).tolist()
        (('fear', 'joy'), [1, 2], [[0.0, 1.0]])
    """

    multi_label: ClassVar[bool] = True
    names: tuple[str, ...]
    counts: Tensor
    rows: int
    priors: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("there is no row to learn a label from")
        object.__setattr__(self, "priors", (self.counts + 1) / (self.rows + 2))

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """The labels of training rows.

        Args:
            rows: with ``labels``, a list of texts or numbers.

        Raises:
            TypeError: something is no row.
            ValueError: a row has no list of labels; the message names it.
        """
        rows = _listed(rows)
        counts = Counter(name for place, row in enumerate(rows) for name in _labels_of(row, place))
        names = _ordered(counts)
        return cls(names, torch.tensor([counts[name] for name in names], dtype=torch.long), len(rows))

    def numbers(self, rows: Rows) -> Tensor:
        """1.0 where a label applies, without those that training has none of, ``(rows, labels)``."""
        rows = _listed(rows)
        known = {name: number for number, name in enumerate(self.names)}
        found = torch.zeros(len(rows), len(self.names))
        for place, row in enumerate(rows):
            for name in _labels_of(row, place):
                if name in known:
                    found[place, known[name]] = 1.0
        return found

    @property
    def config(self) -> dict[str, Any]:
        """Settings of a model's head, for ``from_pretrained``."""
        return _head(self.names, "multi_label_classification")


def _head(names: Sequence[str], problem_type: str) -> dict[str, Any]:
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": problem_type,
    }


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Names by the alphabet, or by their size where all are whole numbers."""
    given = list(names)
    if all(re.fullmatch("0|-?[1-9][0-9]{0,99}", name) for name in given):
        return tuple(sorted(given, key=int))
    return tuple(sorted(given))


def _listed(rows: Rows) -> list[Mapping[str, Any]]:
    """Rows that may be read twice, each of which is one."""
    found = list(rows)
    for place, row in enumerate(found):
        if not isinstance(row, Mapping):
            raise TypeError(f"row {place} is {row!r}, a {type(row).__name__}; give a mapping of columns for each row")
    return found


def _class_of(row: Mapping[str, Any], place: int) -> str:
    name = _name_of(row.get("label"))
    if name is None:
        raise ValueError(
            f"row {place} has {row.get('label')!r} as its label: give a text or a number; it has {', '.join(row)}"
        )
    return name


def _labels_of(row: Mapping[str, Any], place: int) -> set[str]:
    labels = row.get("labels")
    if not isinstance(labels, (list, tuple)):
        raise ValueError(f"row {place} has {labels!r} as its labels: give a list of them; it has {', '.join(row)}")
    names = set()
    for label in labels:
        name = _name_of(label)
        if name is None:
            raise ValueError(f"row {place} has {label!r} among its labels: give texts or whole numbers")
        names.add(name)
    return names


def _name_of(label: object) -> str | None:
    """A label as a text; ``None`` of what is neither a text nor a whole number, NumPy's among them."""
    if isinstance(label, bool) or not isinstance(label, str | Integral):
        return None
    return label if isinstance(label, str) else str(int(label))
