r"""Reading text files: plain, ``.gz`` or ``.xz`` (in any case), UTF-8, and errors that name file and line.

Lines are split at ``\n`` only, because texts hold other line separators (U+2028, for example). A byte order mark at
the beginning of a file is left out.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from nlpkit.sources import expand_home

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".json", ".jsonl")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Record = dict[str, Any]


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading, uncompressed if its name ends in ``.gz`` or ``.xz``.

    Args:
        path: the file; ``~`` is the home folder.

    Returns:
        A binary file.

    Raises:
        FileNotFoundError: no such file.
        IsADirectoryError: it is a folder.
    """
    path = expand_home(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not path.exists():  # pipes exist, such as those that shells make of <(command), and are no files
        raise FileNotFoundError(f"there is no file {path}")
    return cast(IO[bytes], _OPENERS.get(path.suffix.lower(), open)(path, "rb"))


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Read a text file line by line.

    Args:
        path: a UTF-8 file, plain or ``.gz`` or ``.xz``.

    Returns:
        An iterator over the lines without their ends (``\n`` or ``\r\n``), empty ones included.

    Raises:
        FileNotFoundError: no such file (raised at once).
        ValueError: while iterating: a line is not UTF-8, or the compressed data are broken; the message names file
            and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt.gz")
        ...     _ = path.write_bytes(gzip.compress("一\r\n\n二".encode()))
        ...     list(read_lines(path))
        ['一', '', '二']
    """
    file = open_bytes(path)
    return _closing(decode_lines(file, str(path)), file)


def decode_lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Decode the lines of an open binary file, as ``read_lines`` does.

    Args:
        lines: a binary file, standard input's ``buffer`` for example.
        name: what errors call it.

    Returns:
        An iterator over the lines without their ends.

    Raises:
        ValueError: while iterating, as of ``read_lines``.
    """
    return (line.removesuffix("\n").removesuffix("\r") for line in _decoded(lines, name))


def read_records(path: str | Path) -> Iterator[tuple[int, Record]]:
    r"""Read a file of records.

    Args:
        path: JSON lines (``.json``, ``.jsonl``) or a table whose first line names its columns (``.csv``, ``.tsv``),
            UTF-8, plain or with ``.gz`` or ``.xz`` after that.

    Yields:
        The number of the line, from 1, and its record; blank lines are passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, not UTF-8, broken JSON, a line that is no JSON object, or a row with more or
            fewer columns than the first; the message names file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "two.jsonl")
        ...     _ = path.write_text('{"text": "a\\u2028b"}\n\n{"text": "c"}\n', encoding="utf-8")
        ...     list(read_records(path))
        [(1, {'text': 'a\u2028b'}), (3, {'text': 'c'})]
    """
    path, suffix = Path(path), _suffix(path)
    if suffix in _JSON_LINES:
        yield from _json_lines(read_lines(path), path)
    elif suffix in _SEPARATORS:
        with open_bytes(path) as file:
            yield from _table_rows(_decoded(file, str(path)), path, _SEPARATORS[suffix])
    else:
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        raise ValueError(
            f"{path}: cannot tell how to read it; name it .json, .jsonl, .csv or .tsv, or .gz or .xz after that"
        )


def parse_record(line: str, number: int, path: str | Path) -> Record:
    """The JSON object in a line.

    Args:
        line: not blank.
        number: of the line, for errors, like the following.
        path: of the file.

    Raises:
        ValueError: broken JSON, or no object; the message names file and line.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {number} must be a JSON object; it is {line.strip()[:40]!r}")
    return record


def holds_json_lines(path: str | Path) -> bool:
    """Whether a file holds JSON lines, by its name.

    Example:
        >>> holds_json_lines("texts.jsonl.gz"), holds_json_lines("texts.csv")
        (True, False)
    """
    return _suffix(path) in _JSON_LINES


def holds_a_table(path: str | Path) -> bool:
    """Whether a file holds a table whose first line names its columns, by its name.

    Example:
        >>> holds_a_table("TEXTS.CSV"), holds_a_table("texts.txt")
        (True, False)
    """
    return _suffix(path) in _SEPARATORS


def _suffix(path: str | Path) -> str:
    name = Path(Path(path).name.lower())
    return Path(name.stem).suffix if name.suffix in _OPENERS else name.suffix


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            yield (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number} is not UTF-8 ({error.reason}); convert it, for example with iconv"
        ) from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{name} is cut off or broken as a compressed file, after line {number}: {error}; copy it again"
        ) from error


def _closing(lines: Iterator[str], file: IO[bytes]) -> Iterator[str]:
    with file:
        yield from lines


def _json_lines(lines: Iterable[str], path: Path) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, parse_record(line, number, path)


def _table_rows(lines: Iterable[str], path: Path, separator: str) -> Iterator[tuple[int, Record]]:
    rows = csv.reader(lines, delimiter=separator, strict=True)
    try:
        names = next(rows, None)
        if names is None:
            return
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{path}, line 1 names the column {twice[0]!r} twice; rename one of them")
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                raise ValueError(f"{path}, line {rows.line_num} has {len(row)} columns; the first has {len(names)}")
            yield rows.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num} is not a table row: {error}") from error
