"""What a few-shot task is: text fields, labels, and how a record of its files becomes an example.

Patterns and label words are no part of it: they belong to a method, and to the settings of its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nlpkit.fewshot.metrics import Metric, accuracy
from nlpkit.pet import Example

Record = Mapping[str, Any]


@dataclass(frozen=True)
class FewShotTask:
    """A classification task, independent of methods and of where its files lie.

    Args:
        name: e.g. ``"eprstmt"``; it names columns of tables and folders.
        text_fields: names of an example's fields.
        labels: every label, in a fixed order, as strings.
        read_fields: a record to the texts of ``text_fields``; by default the record's values of the same names.
        label_key: the record's key of the label.
        read_candidates: a record to one text for each label, for tasks whose answers differ between examples.
        label_names: a short text for a label, where the label itself says nothing (``"100"`` of tnews is 故事).
        metrics: the first one is the task's score, which selects models and fills tables; all are recorded.

    Raises:
        ValueError: fewer than two labels, a label twice, a label name of no label, no text field, or no metric.

    Example:
        >>> task = FewShotTask("hotels", ("review",), ("0", "1"), label_names={"0": "差", "1": "好"})
        >>> task.to_example({"review": "房间很干净", "label": 1})
        Example(fields={'review': '房间很干净'}, label='1', candidates=())
    """

    name: str
    text_fields: tuple[str, ...]
    labels: tuple[str, ...]
    read_fields: Callable[[Record], dict[str, str]] | None = None
    label_key: str = "label"
    read_candidates: Callable[[Record], tuple[str, ...]] | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = (accuracy,)

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"task {self.name!r} needs two or more labels, each once; got {self.labels}")
        if not self.text_fields or not self.metrics:
            raise ValueError(f"task {self.name!r} needs at least one text field and one metric")
        if strangers := sorted(set(self.label_names) - set(self.labels)):
            raise ValueError(f"task {self.name!r} names {strangers}, which are not among its labels")

    @property
    def metric(self) -> Metric:
        """The score that selects models and fills tables."""
        return self.metrics[0]

    def score(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """Every metric's name to its value.

        Example:
            >>> FewShotTask("t", ("text",), ("a", "b")).score(["a", "b"], ["a", "a"])
            {'accuracy': 0.5}
        """
        return {metric.__name__: metric(gold, predicted) for metric in self.metrics}

    def to_example(self, record: Record, labelled: bool = True) -> Example:
        """Turn a record of the task's files into an example.

        Args:
            record: names to values, as a line of the file holds them.
            labelled: whether the label is read; if not, the example has none, even if the record does.

        Returns:
            The example.

        Raises:
            ValueError: a field or the label is missing, is not text, or is none of the task's labels.
        """
        read_fields = self.read_fields or self._fields_of_the_same_name
        candidates: tuple[str, ...] = ()
        if self.read_candidates is not None:
            candidates = self.read_candidates(record)
            if len(candidates) != len(self.labels):
                raise ValueError(f"{len(candidates)} candidates, where {self.name} has {len(self.labels)} labels")
        return Example(read_fields(record), self._label_of(record) if labelled else None, candidates)

    def _fields_of_the_same_name(self, record: Record) -> dict[str, str]:
        return {name: text_of(record, name) for name in self.text_fields}

    def _label_of(self, record: Record) -> str:
        value = value_of(record, self.label_key)
        label = label_text(value)
        if label not in self.labels:
            raise ValueError(f"label {value!r} is none of the labels of {self.name}: {_shortened(self.labels)}")
        return label


def value_of(record: Record, name: str) -> Any:
    """A record's value, refusing a missing one by name.

    Raises:
        ValueError: the record has no such field; the message lists those it has.
    """
    if name not in record:
        raise ValueError(f"no field {name!r}; the record has {', '.join(map(repr, record)) or 'none'}")
    return record[name]


def text_of(record: Record, name: str) -> str:
    """A record's text, refusing anything that is not one.

    Raises:
        ValueError: the field is missing, or is not a string.

    Example:
        >>> text_of({"sentence": "好"}, "sentence")
        '好'
    """
    value = value_of(record, name)
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} must be text; got {value!r}")
    return value


def label_text(value: Any) -> str:
    """The label that a value of a file stands for: JSON's ``1`` and ``true`` are ``"1"`` and ``"true"``.

    Example:
        >>> label_text(100), label_text(True), label_text("Positive")
        ('100', 'true', 'Positive')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(labels: Sequence[str], shown: int = 12) -> str:
    rest = f" and {len(labels) - shown} more" if len(labels) > shown else ""
    return ", ".join(map(repr, labels[:shown])) + rest
