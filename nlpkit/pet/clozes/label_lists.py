"""Examples to which any number of labels apply, read from what users hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlpkit.data.rows import plain_value, read_rows
from nlpkit.pet.clozes.class_names import class_names, named
from nlpkit.pet.clozes.columns import Columns, there_are
from nlpkit.pet.clozes.commas import split_at_commas
from nlpkit.pet.clozes.examples import (
    LABEL,
    NO_LABEL,
    Example,
    Label,
    LabelledExamples,
    Sources,
    examples_of_rows,
    labels_by_name,
)
from nlpkit.pet.clozes.known_labels import refuse_no_labels


@dataclass(frozen=True)
class MultiLabelExample(Example):
    """An example to which any number of labels apply; ``None`` where that is not known."""

    applying: tuple[str, ...] | None = None

    @property
    def known_labels(self) -> tuple[str, ...] | None:
        """All that apply, or ``None``."""
        return self.applying


def multi_label_examples(
    sources: Sources,
    fields: tuple[str, ...],
    classes: Sequence[Label],
    labels: Iterable[Any] | str | None = None,
    text: Columns = None,
    *,
    required: bool = False,
) -> LabelledExamples:
    """Examples with the list of their labels.

    Args:
        sources: texts, rows, or examples, which keep the labels that they have.
        fields: of the pattern.
        classes: all labels there are.
        labels: a list of labels for each text; an array of 0 and 1, ``(texts, labels)``, or a table of them with a
            column for each label that occurs; or the name of their column. ``None``: the column ``"label"``.
        text: the column of the text, or of each field, where it has another name.
        required: whether the labels of at least one text must be known.

    Returns:
        Examples, and the labels in them as they were given, by their names.

    Raises:
        TypeError: the labels of a text are no list.
        ValueError: there are more or fewer lists than texts, an array or a table holds something else than 0 and 1 for
            each label, or lists of numbers can be read in two ways; and as ``as_examples``.

    Example:
        >>> found = multi_label_examples(["a", "b"], ("text",), ["x", "y"], [["x", "y"], []])
        >>> [example.applying for example in found.examples]
        [('x', 'y'), ()]
    """
    rows = read_rows(sources)
    plain = examples_of_rows(rows, fields, text)
    if labels is None or isinstance(labels, str):
        column = LABEL if labels is None else labels
        values = [row.get(column) if isinstance(row, Mapping) else None for row in rows.values]
        lists, source = applying_labels(_by_name(values, class_names(sources, column), classes), classes), sources
    elif names := class_names(labels):
        lists, source = applying_labels(_by_name(read_rows(labels).values, names, classes), classes), labels
    else:
        lists, source = _lists_given(labels, classes), labels
    if len(lists) != len(plain):
        raise ValueError(f"there are {len(plain)} texts, but {len(lists)} lists of labels; give one for each text")
    given: dict[str, Label] = {}
    examples: list[Example] = []
    for one, applying in zip(plain, lists, strict=True):
        if isinstance(one, MultiLabelExample) and applying is None:
            examples.append(one)
            continue
        listed = None if applying is None else tuple(map(str, applying))
        given |= labels_by_name(applying or (), isinstance(source, Path))
        examples.append(MultiLabelExample(one.fields, None, one.candidates, listed))
    if required:
        refuse_no_labels(
            [one.known_labels for one in examples],
            labels is not None or LABEL in (rows.columns or ()),
            f"give labels=[[...], ...], a list for each text, or the name of their column{there_are(rows)}",
        )
    return LabelledExamples(examples, given)


def _by_name(values: Sequence[Any], names: Sequence[str], classes: Sequence[Label]) -> list[Any]:
    """Lists of labels whose numbers may stand for names."""
    if not names:
        return list(values)
    known = list(map(str, classes))
    return [None if own is None else named(list(map(plain_value, own)), names, known) for own in values]


def applying_labels(values: Sequence[Any], classes: Sequence[Label]) -> list[list[Label] | None]:
    """The labels that cells name: a list of them, a text, or, in all cells, a 0 or 1 for each label.

    A text that is a label names this one; any other is parted at commas of any script: ``,``, ``，``, ``、``.

    Args:
        values: of the cells.
        classes: all labels there are.

    Returns:
        The labels of each; ``None`` where they are not known.

    Raises:
        TypeError: one is a value by itself.
        ValueError: zeros and ones may be the names of labels as well.

    Example:
        >>> applying_labels(["x，y"], ["x", "y"]), applying_labels(["x，y"], ["x，y"])
        ([['x', 'y']], [['x，y']])
        >>> applying_labels(["x, y", None], ["x", "y", "z"]), applying_labels([[0, 0, 1]], ["x", "y", "z"])
        ([['x', 'y'], None], [['z']])
    """
    names = set(map(str, classes))
    listed = [_listed(value, names) for value in values]
    known = [row for row in listed if row is not None]
    if not all(_is_marks(row, classes) for row in known):
        return listed
    marked = [None if row is None else _marked(row, classes) for row in listed]
    for row, applying in zip(listed, marked, strict=True):
        as_names = set(map(str, row or ()))
        if as_names <= names and as_names != set(map(str, applying or ())):
            raise ValueError(
                f"labels {row!r} name labels, or say by 0 or 1 whether each of {', '.join(map(repr, classes))} "
                "applies; give the latter as an array, numpy.array(labels), and names as texts"
            )
    return marked


def _lists_given(labels: Iterable[Any], classes: Sequence[Label]) -> list[list[Label] | None]:
    """The labels of each text: of an array of numbers and of a table with columns of labels those that are marked."""
    given: Any = labels
    given = given.toarray() if hasattr(given, "toarray") else given  # of SciPy, sparse
    rows = read_rows(given)
    if rows.columns is None:
        cells = given.tolist() if getattr(given, "ndim", 1) == 2 else None
        if cells is None or not all(isinstance(cell, (int, float)) for row in cells for cell in row):
            return applying_labels(rows.values, classes)
        return [_marks_of(row, classes, number) for number, row in enumerate(cells)]
    names = [str(label) for label in classes]
    if strangers := [column for column in rows.columns if column not in names]:
        if len(rows.columns) == 1:
            return applying_labels([row[strangers[0]] for row in rows.values], classes)
        raise ValueError(
            f"column {strangers[0]!r} of labels is not one of {', '.join(map(repr, names))}; give a table with a "
            "column of 0 and 1 for each label"
        )
    # A label that no row has got no column from pandas.get_dummies.
    return [_marks_of([row.get(name, 0) for name in names], classes, number) for number, row in enumerate(rows.values)]


def _listed(value: Any, names: Collection[str]) -> list[Label] | None:
    if isinstance(value, str):
        return [value] if value in names else [name for name in split_at_commas(value) if name]
    if isinstance(value, Iterable):
        return [plain_value(label) for label in value]
    if plain_value(value) is None:
        return None
    raise TypeError(f"labels must be a list for each text, [] where none applies; got {value!r}")


def _marks_of(row: Sequence[Any], classes: Sequence[Label], number: int) -> list[Label] | None:
    marks = [plain_value(cell) for cell in row]
    if marks and all(mark is None for mark in marks):
        return None
    if not _is_marks(marks, classes):
        raise ValueError(
            f"row {number} of labels must hold a 0 or 1 for each of {', '.join(map(repr, classes))}; got {marks}"
        )
    return _marked(marks, classes)


def _is_marks(row: Sequence[Any], classes: Sequence[Label]) -> bool:
    return len(row) == len(classes) and all(one in (0, 1) for one in row)


def _marked(row: Sequence[Any], classes: Sequence[Label]) -> list[Label]:
    return [label for label, applies in zip(classes, row, strict=True) if applies]


def applies(example: Example, labels: Sequence[str]) -> list[int]:
    """1 for each label that applies to an example, 0 for the others, -100 for all where that is not known.

    Raises:
        ValueError: one that applies is not among the labels.

    Example:
        >>> applies(MultiLabelExample({"text": "a"}, None, None, ("y",)), ["x", "y"]), applies(Example.of("a"), ["x"])
        ([0, 1], [-100])
    """
    applying = example.applying if isinstance(example, MultiLabelExample) else None
    if applying is None:
        return [NO_LABEL] * len(labels)
    if strangers := [label for label in applying if label not in labels]:
        raise ValueError(f"label {strangers[0]!r} is not one of {', '.join(map(repr, labels))}")
    return [int(label in applying) for label in labels]
