"""Which column of a table holds which text of an example."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from nlpkit.data.rows import Rows, plain_value

#: The field of an example that is a plain text.
TEXT = "text"
#: Which column holds the text, or which column holds each field.
Columns = str | Sequence[str] | Mapping[str, str] | None


def columns_of(fields: Sequence[str] | None, text: Columns, rows: Rows) -> dict[str, str]:
    """The column of each field.

    Args:
        fields: names of the texts that are wanted; ``None`` where any will do.
        text: what the user said of their columns.
        rows: of the table, or of what is none.

    Raises:
        ValueError: a column is not in the table, or the columns are not one for each field.

    Example:
        >>> columns_of(["text"], None, Rows([{"review": "很好"}], ("review",)))
        {'text': 'review'}
    """
    wanted = list(fields or (TEXT,))
    if text is None:
        if rows.columns is not None and len(wanted) == len(rows.columns) == 1:
            return {wanted[0]: rows.columns[0]}
        found = {name: name for name in wanted}
    elif isinstance(text, Mapping):
        found = {name: text.get(name, name) for name in wanted}
    else:
        named = [text] if isinstance(text, str) else list(text)
        if len(named) != len(wanted):
            raise ValueError(f"text={text!r} must name the column of each of {', '.join(map(repr, wanted))}")
        found = dict(zip(wanted, named, strict=True))
    if rows.values and rows.columns is not None and (fields is not None or text is not None):
        for field, column in found.items():
            if column not in rows.columns:
                cure = _cure(field, rows, found.values(), alone=len(found) == 1)
                raise ValueError(f"there is no column {column!r} for the text {field!r}{there_are(rows)}{cure}")
    return found


def there_are(rows: Rows) -> str:
    """The columns of a table, in a message; nothing of what is no table."""
    return "" if rows.columns is None else f"; there are the columns {', '.join(map(repr, rows.columns))}"


def _cure(field: str, rows: Rows, taken: Collection[str], alone: bool) -> str:
    """How to name the likeliest column: of those that hold texts, and are no other field's, that of the longest."""
    lengths: dict[str, float] = {}
    for name in rows.columns or ():
        cells = [cell for row in rows.values if plain_value(cell := row.get(name)) is not None]
        if name not in taken and cells and all(isinstance(cell, str) for cell in cells):
            lengths[name] = fmean(map(len, cells))
    if not lengths:
        return "; none of them holds texts"
    likeliest = max(lengths, key=lambda name: lengths[name])
    return f"; name it: text={likeliest!r}" if alone else f"; name it: text={ {field: likeliest}!r}"
