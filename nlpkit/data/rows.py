"""Rows of whatever users hold them in: lists, Series, data frames, ``datasets``, columns by name, files of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nlpkit.text_files import read_records


class Rows(NamedTuple):
    """Rows in their order.

    Args:
        values: one per row: whatever the source held, or of a table a mapping of its columns to the row's values.
        columns: names of the table's columns; ``None`` where the source is no table.
    """

    values: list[Any]
    columns: tuple[str, ...] | None = None


def read_rows(source: Iterable[Any] | Mapping[str, Iterable[Any]] | Path) -> Rows:
    """The rows of a source, none left out, whatever kind it is of.

    Args:
        source: a list, an array, a Series, or any other sequence of rows, an array ``(rows, 1)`` among them; a table,
            which is a data frame of pandas or polars, a ``datasets.Dataset``, a table of pyarrow, or a mapping of
            columns to their values; or a ``Path`` to JSON lines or to a table of ``.csv`` or ``.tsv``, see
            ``nlpkit.text_files.read_records``.

    Returns:
        The rows, and the names of columns if it is a table.

    Raises:
        TypeError: a set, which has no order; one text, whose characters would become rows; one record; several splits
            of a data set; or what cannot be gone through.
        ValueError: columns of unequal length, two of one name, or a broken file.

    Example:
        >>> read_rows({"text": ["好", ""], "stars": [5, 1]})
        Rows(values=[{'text': '好', 'stars': 5}, {'text': '', 'stars': 1}], columns=('text', 'stars'))
        >>> read_rows(["好", ""])
        Rows(values=['好', ''], columns=None)
    """
    if isinstance(source, (str, bytes)):
        raise TypeError(f"give a list of texts, not one text: [{source[:20]!r}]; a file is given as pathlib.Path(...)")
    if isinstance(source, (set, frozenset)):
        raise TypeError("a set has no order in which answers could come back; give a list")
    if isinstance(source, Path):
        records = [record for _, record in read_records(source)]
        return Rows(records, tuple(dict.fromkeys(name for record in records for name in record)))
    names = _names_of_columns(source)
    if names is None:
        if not isinstance(source, Iterable):
            raise TypeError(f"give a list, a Series, a data frame or a data set; got {source!r}")
        array: Any = source
        return Rows(_cells(array[:, 0] if getattr(array, "shape", ())[1:] == (1,) else array))
    if twice := next((name for name, count in Counter(map(str, names)).items() if count > 1), None):
        raise ValueError(f"the table names the column {twice!r} twice; rename one of them")
    table: Any = source
    columns = {str(name): _cells(table[name]) for name in names}
    if len({len(values) for values in columns.values()}) > 1:
        lengths = {name: len(values) for name, values in columns.items()}
        raise ValueError(f"the columns of a table must be of one length; got {lengths}")
    return Rows([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], tuple(columns))


def _names_of_columns(source: Any) -> list[Any] | None:
    """Of a table; ``None`` for any other source."""
    if isinstance(source, Mapping):
        splits = {name: one for name, one in source.items() if hasattr(one, "column_names")}
        if splits:
            raise TypeError(f"these are several data sets; give one of {', '.join(map(repr, splits))}")
        single = next((name for name, values in source.items() if isinstance(values, (str, bytes))), None)
        if single is not None or not all(isinstance(values, Iterable) for values in source.values()):
            raise TypeError(f"give a list of records, not one: [{dict(source)!r}]")
        return list(source)
    for attribute in ("column_names", "columns"):  # of datasets, which have no other; of data frames
        names = getattr(source, attribute, None)
        if names is not None and not callable(names) and hasattr(source, "__getitem__"):
            return list(names)
    return None


def _cells(column: Any) -> list[Any]:
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column)  # pyarrow's own cells are no values


def plain_value(value: Any) -> Any:
    """A cell as Python has it: numpy's scalars as numbers, whole numbers as integers, what is missing as ``None``.

    pandas makes a column of integers one of fractions as soon as one of them is missing.

    Example:
        >>> import numpy as np
        >>> plain_value(np.int64(3)), plain_value(1.0), plain_value(float("nan")), plain_value("好")
        (3, 1, None, '好')
    """
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:  # NaN is not itself
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value
