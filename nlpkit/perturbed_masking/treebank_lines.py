"""The lines of a treebank, numbered for error messages, from a file or from memory."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

_OPENERS: dict[str, Callable[..., IO[bytes] | Any]] = {".gz": gzip.open, ".xz": lzma.open}

Source = str | Path | Iterable[str]


class TreebankError(ValueError):
    """A treebank that is not as its format demands; the message names the file and the line."""


class TreebankLines:
    r"""An iterator over lines without their ends, which knows where it is.

    Args:
        source: a path (``.gz`` and ``.xz`` are opened), or lines, with or without ``\n``.

    Raises:
        FileNotFoundError: no such file.
        TreebankError: while iterating: a line is not UTF-8, or the compressed data are broken.

    Example:
        >>> lines = TreebankLines(["a\n", "b"])
        >>> [(lines.number, line) for line in lines]
        [(1, 'a'), (2, 'b')]
    """

    def __init__(self, source: Source) -> None:
        self.number = 0
        self._path = Path(source) if isinstance(source, str | Path) else None
        if self._path is not None and not self._path.is_file():
            raise FileNotFoundError(f"treebank {self._path} does not exist")
        self._lines = source if not isinstance(source, str | Path) else self._from_file(Path(source))

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            yield line.removesuffix("\n").removesuffix("\r")

    def _from_file(self, path: Path) -> Iterator[str]:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            try:
                for line in file:  # bytes are split at \n only; other separators may occur in a word
                    yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                self.fail(f"is not UTF-8 ({error.reason})", self.number + 1)
            except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
                self.fail(f"is where the compressed data break off ({error})", self.number + 1)

    def fail(self, what: str, number: int | None = None) -> NoReturn:
        """Raise a :class:`TreebankError` about a line.

        Args:
            what: is wrong, as the end of a sentence that begins with the line.
            number: of the line; by default the current one.

        Raises:
            TreebankError: always.
        """
        name = f"{self._path}, line" if self._path is not None else "line"
        raise TreebankError(f"{name} {self.number if number is None else number} {what}")
