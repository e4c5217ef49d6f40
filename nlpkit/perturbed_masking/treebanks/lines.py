"""The lines of a treebank, numbered for error messages, from a file or from memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from nlpkit.text_files import read_lines

Source = str | Path | Iterable[str]


class TreebankError(ValueError):
    """A treebank that is not as its format demands; the message names the file and the line."""


class TreebankLines:
    r"""An iterator over lines without their ends, which knows where it is.

    Args:
        source: a path (``.gz`` and ``.xz`` are opened), or lines, with or without ``\n``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: while iterating: a line is not UTF-8, or the compressed data are broken.

    Example:
        >>> lines = TreebankLines(["a\n", "b"])
        >>> [(lines.number, line) for line in lines]
        [(1, 'a'), (2, 'b')]
    """

    def __init__(self, source: Source) -> None:
        self.number = 0
        self._path = Path(source) if isinstance(source, str | Path) else None
        self._lines = read_lines(source) if isinstance(source, str | Path) else source

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            # Files that were joined keep the byte order mark of each.
            yield line.removeprefix("\ufeff").removesuffix("\n").removesuffix("\r")

    def fail(self, what: str, number: int | None = None) -> NoReturn:
        """Raise a ``TreebankError`` about a line.

        Args:
            what: is wrong, as the end of a sentence that begins with the line.
            number: of the line; by default the current one.

        Raises:
            TreebankError: always.
        """
        name = f"{self._path}, line" if self._path is not None else "line"
        raise TreebankError(f"{name} {self.number if number is None else number} {what}")
