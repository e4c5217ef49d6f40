"""Files of records, JSON lines and tables, as every verb reads them: by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.text_files import Record, holds_a_table, holds_json_lines, parse_record, read_lines, read_records

TextColumn = Annotated[
    str | None, typer.Option("--text", help="The column of the text in JSON lines, .csv or .tsv; by default text.")
]


def holds_records(file: Path | None) -> bool:
    """Whether a file holds JSON lines or a table, by its name."""
    return file is not None and (holds_json_lines(file) or holds_a_table(file))


def read_placed_records(texts: list[str] | None, file: Path) -> Iterator[tuple[str, Record]]:
    """The records of a file, each after its place in words; blank lines of JSON have empty ones, and keep theirs.

    Args:
        texts: arguments, which do not go with a file.
        file: of JSON lines or of a table, by its name.

    Raises:
        ValueError: there are arguments, or, while iterating, as of ``read_records``.
    """
    if texts:
        raise ValueError(f"give texts or --file, not both; got {texts[0]!r} and --file {file}")
    if holds_a_table(file):
        numbered = read_records(file)
    else:
        lines = enumerate(read_lines(file), start=1)
        numbered = ((number, parse_record(line, number, file) if line.strip() else {}) for number, line in lines)
    return ((f"{file}, line {number}", record) for number, record in numbered)


def text_fields(place: str, record: Record, fields: Sequence[str], column: str | None) -> dict[str, str]:
    """The texts of a record by the names of the fields that they are for.

    Args:
        place: of the record, for errors.
        record: its values by column; without any it is blank.
        fields: columns are called alike, but for the one that ``column`` names.
        column: of the text, where there is one field.

    Raises:
        ValueError: a column is not there, in which case the message lists those there are, or holds no text.

    Example:
        >>> text_fields("a.csv, line 2", {"id": "7", "text": "很好"}, ["text"], None)
        {'text': '很好'}
        >>> text_fields("a.csv, line 2", {"review": "很好"}, ["text"], "review")
        {'text': '很好'}
    """
    if not record:
        return dict.fromkeys(fields, "")
    names = [column] if column is not None and len(fields) == 1 else list(fields)
    for name in names:
        if name not in record:
            known = ", ".join(map(repr, record))
            raise ValueError(f"{place} has no column {name!r}; name that of the text by --text, of {known}")
        if not isinstance(record[name], str | None):
            raise ValueError(f"{place} holds {record[name]!r} in the column {name!r}, which is no text")
    return {field: record[name] or "" for field, name in zip(fields, names, strict=True)}


def refuse_column_of_lines(column: str | None, *files: Path | None) -> None:
    """Refuse the name of a column where no file has any.

    Raises:
        ValueError: there is one.
    """
    if column is not None and not any(map(holds_records, files)):
        raise ValueError(f"text={column} names a column; give --file with JSON lines, .csv or .tsv")
