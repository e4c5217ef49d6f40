r"""Reading records and examples: JSON lines, CSV, ``datasets`` sets; compressed or not.

JSON lines are split at ``\n`` only, because texts hold other line separators (U+2028 in FewCLUE's iflytek).
"""

from __future__ import annotations

import csv
import io
import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nlpkit.fewshot.tasks import FewShotTask, Record, label_text, value_of
from nlpkit.pet.examples import Example

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".json", ".jsonl")


def read_bytes(path: Path) -> bytes:
    """The content of a file, uncompressed if its name ends in ``.xz``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the compressed data are broken or cut off.
    """
    if path.suffix != ".xz":
        return path.read_bytes()
    try:
        with lzma.open(path, "rb") as file:
            return file.read()
    except (EOFError, lzma.LZMAError) as error:
        raise ValueError(f"{path} is cut off or broken as a compressed file: {error}") from error


def read_records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    r"""Read a file of records.

    Args:
        path: JSON lines (``.json``, ``.jsonl``) or a table whose first line names its columns (``.csv``, ``.tsv``),
            UTF-8, plain or with ``.xz`` after that.

    Yields:
        The number of the line, from 1, and its record; blank lines are passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, not UTF-8, broken JSON, a line that is no JSON object, or a row with more or
            fewer columns than the first; the message names file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "two.jsonl")
        >>> _ = path.write_text('{"text": "a\\u2028b"}\n\n{"text": "c"}\n', encoding="utf-8")
        >>> list(read_records(path))
        [(1, {'text': 'a\u2028b'}), (3, {'text': 'c'})]
    """
    path = Path(path)
    suffix = Path(path.stem).suffix if path.suffix == ".xz" else path.suffix
    if suffix not in (*_JSON_LINES, *_SEPARATORS):
        raise ValueError(f"{path}: cannot tell how to read it; name it .json, .jsonl, .csv or .tsv, or .xz after that")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line} is not UTF-8; convert the file first") from error
    yield from _json_lines(text, path) if suffix in _JSON_LINES else _table_rows(text, path, _SEPARATORS[suffix])


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


def examples_of_rows(rows: Iterable[Record], task: FewShotTask, labelled: bool = True) -> list[Example]:
    """Turn rows that are in memory already, such as a ``datasets.Dataset``, into examples.

    Args:
        rows: anything that yields mappings.
        task: what the rows hold.
        labelled: whether labels are read.

    Returns:
        The examples in their order.

    Raises:
        ValueError: a row lacks a field or has an unknown label; the message says which row, from 0.

    Example:
        >>> task = FewShotTask("hotels", text_fields=("text",), labels=("0", "1"))
        >>> examples_of_rows([{"text": "很好", "label": 1}], task)[0].label
        '1'
    """
    examples = []
    for number, row in enumerate(rows):
        try:
            examples.append(task.to_example(row, labelled))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
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


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} must be a JSON object; it is {line.strip()[:40]!r}")
        yield number, record


def _table_rows(text: str, path: Path, separator: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = next(rows, None)
        if names is None:
            return
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                raise ValueError(f"{path}, line {rows.line_num} has {len(row)} columns; the first has {len(names)}")
            yield rows.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num} is not a table row: {error}") from error
