"""What is classified: named texts, perhaps a label, perhaps candidates of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nlpkit.data.rows import Rows, plain_value, read_rows
from nlpkit.pet.clozes.class_names import class_names, named
from nlpkit.pet.clozes.columns import TEXT, Columns, columns_of, there_are
from nlpkit.pet.clozes.known_labels import refuse_no_labels

#: The column where labels are looked for.
LABEL = "label"
#: A label as users have it; classifiers know it by its name, see ``label_name``.
Label = str | int | float | bool


def label_name(label: Any) -> str:
    """The text that a classifier knows a label by, the same for a number in whatever type it comes.

    Example:
        >>> label_name(1.0), label_name(3.5), label_name("1.0")
        ('1', '3.5', '1.0')
    """
    return str(plain_value(label))


def given_labels(labels: Iterable[Any]) -> tuple[Label, ...]:
    """The labels of a classifier as they were given, numbers perhaps, whole ones as integers.

    Raises:
        ValueError: one of them is missing, or two are the same text.

    Example:
        >>> given_labels([5.0, "bad"]), given_labels([3.5, 1.5])
        ((5, 'bad'), (3.5, 1.5))
    """
    found = tuple(map(plain_value, labels))
    if None in found:
        raise ValueError(f"labels must be texts or numbers; got {list(labels)}: what is missing means not known")
    if len(set(map(str, found))) < len(found):
        raise ValueError(f"labels must differ as texts; got {list(labels)}")
    return found


@dataclass(frozen=True)
class Example:
    """Texts by name, with a label where one is known.

    Args:
        fields: texts by the names that patterns use, e.g. ``{"text_a": "...", "text_b": "..."}``.
        label: the right label, ``None`` where it is not known.
        candidates: words among which this example chooses, for tasks without common label words (a cloze with options
            of its own); the labels are then ``"0"``, ``"1"``, ... in their order.

    Example:
        >>> Example.of("屏幕很清楚").fields
        {'text': '屏幕很清楚'}
    """

    fields: Mapping[str, str]
    label: str | None = None
    candidates: tuple[str, ...] = ()

    def without_label(self) -> Example:
        """A copy that shares nothing mutable and does not know the label."""
        return Example(dict(self.fields), None, self.candidates)

    @property
    def known_labels(self) -> tuple[str, ...] | None:
        """The right label, or ``None``."""
        return None if self.label is None else (self.label,)

    @property
    def is_content_free(self) -> bool:
        """Blank, or one of the inputs that stand for none: N/A, [MASK], a dash."""
        texts = {text.strip().strip("[]<>").upper() for text in self.fields.values()}
        return all(text in ("N/A", "MASK") or not any(map(str.isalnum, text)) for text in texts)

    @classmethod
    def of(cls, source: Example | str | Mapping[str, str]) -> Example:
        """An example from a text, from texts by name, or as it is.

        Raises:
            TypeError: it is something else, or holds something else than text.
        """
        if isinstance(source, cls):
            return source
        fields = {TEXT: source} if isinstance(source, str) else source
        if not isinstance(fields, Mapping):
            raise TypeError(f"an example is a text, a mapping of names to texts, or an Example; got {source!r}")
        wrong = next((name for name, text in fields.items() if not isinstance(text, str)), None)
        if wrong is not None:
            raise TypeError(f"field {wrong!r} must be a text; got {fields[wrong]!r}")
        return cls(dict(fields))


#: One text, in any form that has a row of its own.
Source = Example | str | Mapping[str, Any] | Sequence[str]
#: Texts in any form that ``nlpkit.data.read_rows`` reads.
Sources = Iterable[Source] | Mapping[str, Iterable[Any]] | Path


def as_examples(sources: Sources, fields: Sequence[str] | None = None, text: Columns = None) -> list[Example]:
    """Examples from whatever users hold, one per row and in the rows' order.

    Args:
        sources: texts, texts by name, or examples; a Series, a data frame, a data set, columns by name, or a ``Path``
            to a file of records.
        fields: names of the texts that are wanted; other columns are not looked at. ``None`` takes all.
        text: the column of the text, where it has not the field's name; for several fields a mapping of fields to
            columns, or the columns in the fields' order.

    Raises:
        TypeError: ``sources`` is one text, or a row is no example; the message names the row.
        ValueError: a column is missing; the message lists those there are.

    Example:
        >>> as_examples({"review": ["很好", ""], "stars": [5, 1]}, ["text"], text="review")[1]
        Example(fields={'text': ''}, label=None, candidates=())
    """
    return examples_of_rows(read_rows(sources), fields, text)


class LabelledExamples(NamedTuple):
    """Examples with labels, and each label as it was given, unless its source holds texts whatever the labels are."""

    examples: list[Example]
    given: dict[str, Label]


def labelled_examples(
    sources: Sources,
    labels: Iterable[Any] | str | None = None,
    fields: Sequence[str] | None = None,
    text: Columns = None,
    *,
    required: bool = True,
    known: Sequence[str] = (),
) -> LabelledExamples:
    """Examples with their labels from whatever users hold.

    Args:
        sources: as for ``as_examples``.
        labels: one per row, or the name of their column; ``None`` takes the labels of examples, or the column
            ``"label"``. One that is missing (``None``, NaN) is not known.
        fields: as for ``as_examples``.
        text: likewise.
        required: whether at least one label must be known.
        known: all labels there are; a column of ``datasets`` whose numbers stand for these names (``ClassLabel``) is
            read by the names. By default its numbers stay.

    Raises:
        TypeError: as of ``as_examples``.
        ValueError: likewise; or there are no labels, or not one for each row.

    Example:
        >>> found = labelled_examples(["很好", "太差"], [1, 0])
        >>> [example.label for example in found.examples], found.given
        (['1', '0'], {'1': 1, '0': 0})
    """
    rows = read_rows(sources)
    examples = examples_of_rows(rows, fields, text)
    if labels is None or isinstance(labels, str):
        values = [_label_in(row, labels) for row in rows.values]
        only_texts = isinstance(sources, Path) or all(isinstance(row, Example) for row in rows.values)
        names = class_names(sources, LABEL if labels is None else labels)
    else:
        given = read_rows(labels)
        alone = given.columns is not None and len(given.columns) == 1  # a data frame of one column
        values = [plain_value(next(iter(row.values())) if alone else row) for row in given.values]
        only_texts = isinstance(labels, Path)
        names = class_names(labels, given.columns[0] if alone and given.columns else None)
    values = named(values, names, known)
    if len(values) != len(examples):
        raise ValueError(f"there are {len(examples)} texts, but {len(values)} labels; give one label for each text")
    found = [
        replace(one, label=None if value is None else str(value)) for one, value in zip(examples, values, strict=True)
    ]
    if required:
        refuse_no_labels(
            [one.known_labels for one in found],
            labels is not None or LABEL in (rows.columns or ()),
            f"give labels=[...], one for each text, or the name of their column{there_are(rows)}",
        )
    return LabelledExamples(found, labels_by_name([value for value in values if value is not None], only_texts))


def labels_by_name(labels: Iterable[Label], only_texts: bool) -> dict[str, Label]:
    """Labels as they were given, by their names.

    Args:
        labels: known ones.
        only_texts: whether their source, a table in a file for one, holds numbers as texts too; then a text does not
            say how labels were given, and is left out.

    Example:
        >>> labels_by_name(["1", 0], only_texts=True), labels_by_name(["1"], only_texts=False)
        ({'0': 0}, {'1': '1'})
    """
    return {str(label): label for label in labels if not (only_texts and isinstance(label, str))}


def examples_of_rows(rows: Rows, fields: Sequence[str] | None, text: Columns) -> list[Example]:
    """As ``as_examples``, of what ``read_rows`` returned."""
    columns = columns_of(fields, text, rows)
    examples = []
    for number, row in enumerate(rows.values):
        try:
            examples.append(_example_of(row, fields, columns))
        except (TypeError, ValueError) as error:
            raise type(error)(f"row {number}: {error}") from error
    return examples


def _example_of(row: Any, fields: Sequence[str] | None, columns: Mapping[str, str]) -> Example:
    if isinstance(row, Example):
        return row
    if isinstance(row, str) and fields is not None and len(fields) == 1:
        return Example({fields[0]: row})
    if isinstance(row, Mapping) and fields is not None:
        missing = [name for name, column in columns.items() if column not in row]
        if missing:
            raise ValueError(f"there is no {columns[missing[0]]!r}; the record has {', '.join(map(repr, row))}")
        return Example.of({name: row[column] for name, column in columns.items()})
    if isinstance(row, (list, tuple)) and fields is not None and len(row) == len(fields) > 1:
        return Example.of(dict(zip(fields, row, strict=True)))
    return Example.of(row)


def _label_in(row: Any, column: str | None) -> Label | None:
    if isinstance(row, Example):
        return row.label
    if isinstance(row, Mapping):
        if column is not None and column not in row:
            raise ValueError(f"there is no column {column!r} of labels; there are {', '.join(map(repr, row))}")
        found: Label | None = plain_value(row.get(LABEL if column is None else column))
        return found
    if column is not None:
        raise ValueError(f"labels={column!r} names a column, but the texts are no table; give one label for each text")
    return None


#: The number of a label that is not known; losses pass over it.
NO_LABEL = -100


def label_number(example: Example, labels: Sequence[str]) -> int:
    """The place of an example's label, -100 where it has none.

    Args:
        example: the example.
        labels: the labels in their order; empty where the candidates of the example are numbered instead.

    Raises:
        ValueError: the label is not among them.

    Example:
        >>> label_number(Example({"text": "a"}, "no"), ["yes", "no"])
        1
    """
    if example.label is None:
        return NO_LABEL
    known = list(labels) or [str(number) for number in range(len(example.candidates))]
    if str(example.label) not in known:
        numbers = [str(number) for number in range(len(known))]
        hint = f"; tools of scikit-learn that number the labels themselves want labels 0 to {len(known) - 1}"
        raise ValueError(
            f"label {example.label!r} is not one of {', '.join(map(repr, known))}; give it words in the verbalizer, "
            f"or leave the example out{hint if example.label in numbers else ''}"
        )
    return known.index(str(example.label))
