"""Reading the examples of a task from files of records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nlpkit.fewshot.tasks.task import FewShotTask, Record, label_text, value_of
from nlpkit.pet import Example
from nlpkit.text_files import read_records


def read_examples(path: str | Path, task: FewShotTask, labelled: bool = True) -> list[Example]:
    """Read the examples of a file.

    Args:
        path: as ``read_records`` takes it.
        task: what the records hold.
        labelled: whether labels are read; if not, the examples have none, even if the file does.

    Returns:
        The examples in the file's order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``read_records``; or a record lacks a field, or has a label that the task does not know.
    """
    examples = []
    for number, record in read_records(path):
        try:
            examples.append(task.to_example(record, labelled))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return examples


def task_of_rows(
    name: str, rows: Iterable[Record], text_fields: tuple[str, ...], label_key: str = "label"
) -> FewShotTask:
    """A task whose labels are those that occur in labelled rows.

    Args:
        name: the task's name.
        rows: labelled rows of a ``datasets`` set, a list, or ``record for _, record in read_records(path)``.
        text_fields: names of the columns that hold text.
        label_key: name of the column with the label.

    Returns:
        The task; its labels are sorted, numbers by value.

    Raises:
        ValueError: a row has no label, or fewer than two labels occur.

    Example:
        >>> rows = [{"text": "x", "label": label} for label in (10, 2, 2)]
        >>> task_of_rows("numbers", rows, ("text",)).labels
        ('2', '10')
    """
    found = {label_text(value_of(row, label_key)) for row in rows}
    if len(found) < 2:
        raise ValueError(f"column {label_key!r} holds {sorted(found)}; a task needs two or more labels")
    in_order = sorted(found, key=lambda label: (0, int(label), label) if label.isdecimal() else (1, 0, label))
    return FewShotTask(name, text_fields, tuple(in_order), label_key=label_key)
