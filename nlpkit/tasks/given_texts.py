"""Texts of whatever users hold them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nlpkit.data.rows import read_rows


def given_texts(source: Iterable[str] | Mapping[str, Iterable[str]] | Path) -> list[str]:
    """The texts of a source, blank ones included.

    Args:
        source: a list, a Series, or whatever else holds texts, or a table with a column ``text``.

    Raises:
        TypeError: a text is no string, one text is given in place of a list, or a table has no such column.

    Example:
        >>> given_texts({"text": ["好", ""], "stars": [5, 1]})
        ['好', '']
    """
    rows = read_rows(source)
    if rows.columns is not None and "text" not in rows.columns:
        raise TypeError(f"the table has columns {', '.join(rows.columns)} and none called 'text'; give table[column]")
    texts = [row if rows.columns is None else row["text"] for row in rows.values]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"text {number} is a {type(text).__name__}, {text!r}; give strings, '' where there is none"
            )
    return texts
