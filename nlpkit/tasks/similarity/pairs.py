"""Pairs of texts with a judgement: from files, and as texts without repetition."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nlpkit.one_text import refuse_one_text
from nlpkit.text_files import holds_json_lines, read_lines, read_records

_HEADERS = ("label", "score", "gold_label")


class TextPair(NamedTuple):
    """Two texts, and what was judged of them: a number such as ``"4"`` or ``"1"``, or a word such as ``"neutral"``."""

    first: str
    second: str
    label: str


def as_pairs(pairs: Iterable[TextPair | tuple[str, str, Any]]) -> list[TextPair]:
    """Pairs of whatever holds two texts and a judgement.

    Raises:
        TypeError: one text is given in place of pairs, or one of them is none.

    Example:
        >>> as_pairs([("天冷", "很冷", 4.5)])
        [TextPair(first='天冷', second='很冷', label='4.5')]
    """
    refuse_one_text("pairs", pairs, "pairs of texts with a label")
    found = []
    for place, pair in enumerate(pairs):
        if isinstance(pair, TextPair):
            found.append(pair)
            continue
        try:
            first, second, label = pair
        except (TypeError, ValueError):
            raise TypeError(f"pair {place}, counted from 0, is {pair!r}; give (text, text, label)") from None
        if not (isinstance(first, str) and isinstance(second, str)):
            raise TypeError(f"pair {place}, counted from 0, is {pair!r}; its first two must be texts")
        found.append(TextPair(first, second, str(label)))
    return found


class IndexedPairs(NamedTuple):
    """Pairs over a list of texts in which none stands twice.

    Attributes:
        texts: in the order in which they come first.
        places: of each pair's texts in it, shape ``(pairs, 2)``.
    """

    texts: list[str]
    places: np.ndarray


def read_pairs(path: str | Path) -> list[TextPair]:
    r"""Read a file of judged pairs.

    Args:
        path: UTF-8, plain or ``.gz`` or ``.xz``: JSON lines with ``sentence1``, ``sentence2`` and ``label``; ``.csv``
            with quotes where texts hold commas; or anything else with tabs, in which quotes are quotes. Of a table the
            last three columns count, and a first line, blank ones apart, whose last column is called label or score
            is passed over.

    Returns:
        The pairs in the file's order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row of fewer than three columns, an empty text or label, a name that is missing in JSON, or a
            sentence that is no text there or a label that is neither text nor number, or a file without pairs; the
            message names file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "pairs.tsv")
        ...     _ = path.write_text("id\tsentence1\tsentence2\tlabel\n7\t天冷\t很冷\t1\n", "utf-8")
        ...     read_pairs(path)
        [TextPair(first='天冷', second='很冷', label='1')]
    """
    pairs = []
    for number, cells in _json_cells(path) if holds_json_lines(path) else _table_cells(Path(path)):
        if len(cells) < 3:
            raise ValueError(f"{path}, line {number} has {len(cells)} columns; two texts and a label are three")
        pair = TextPair(*(cell.strip() for cell in cells[-3:]))
        if not all(pair):
            raise ValueError(f"{path}, line {number} has an empty text or label: {pair.first!r}, {pair.second!r}")
        pairs.append(pair)
    if not pairs:
        raise ValueError(f"{path} holds no pairs")
    return pairs


def index_texts(pairs: Iterable[TextPair | tuple[str, str, Any]]) -> IndexedPairs:
    """List the texts of pairs once each, since sentences come again and again in such sets.

    Args:
        pairs: at least one.

    Returns:
        The texts, and each pair's places among them.

    Example:
        >>> index_texts([TextPair("天冷", "很冷", "1"), TextPair("很冷", "下雨", "0")])
        IndexedPairs(texts=['天冷', '很冷', '下雨'], places=array([[0, 1],
               [1, 2]]))
    """
    pairs = as_pairs(pairs)
    if not pairs:
        raise ValueError("there are no pairs to take texts from")
    places: dict[str, int] = {}
    rows = [[places.setdefault(text, len(places)) for text in (pair.first, pair.second)] for pair in pairs]
    return IndexedPairs(list(places), np.array(rows))


def likenesses(pairs: Iterable[TextPair | tuple[str, str, Any]]) -> np.ndarray:
    """The labels of pairs as numbers.

    Args:
        pairs: whose labels are numbers.

    Returns:
        Shape ``(pairs,)``, fp64.

    Raises:
        ValueError: a label is no finite number; the message says which.

    Example:
        >>> likenesses([TextPair("天冷", "很冷", "4.5")])
        array([4.5])
    """
    pairs = as_pairs(pairs)
    numbers = np.empty(len(pairs))
    for place, pair in enumerate(pairs):
        try:
            numbers[place] = float(pair.label)
        except (TypeError, ValueError):
            numbers[place] = np.nan
        if not np.isfinite(numbers[place]):
            raise ValueError(f"pair {place}, counted from 0, has the label {pair.label!r}, which is no number")
    return numbers


def _json_cells(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    for number, record in read_records(path):
        names = ("sentence1", "sentence2", "label")
        if missing := [name for name in names if name not in record]:
            raise ValueError(f"{path}, line {number} has no {missing[0]!r}; it has {', '.join(record) or 'nothing'}")
        *texts, label = (record[name] for name in names)
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise ValueError(f"{path}, line {number} has {wrong[0]!r} as a sentence; give a text")
        if not isinstance(label, str | int | float) or isinstance(label, bool):
            raise ValueError(f"{path}, line {number} has the label {label!r}; give a text or a number")
        yield number, [*texts, str(label)]


def _table_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    by_commas = ".csv" in path.suffixes
    is_first = True
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            cells = next(csv.reader([line])) if by_commas else line.split("\t")
            if not (is_first and cells[-1].strip().lower() in _HEADERS):
                yield number, cells
            is_first = False
