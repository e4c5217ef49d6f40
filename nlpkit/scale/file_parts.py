"""Files in parts that another process can read for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from nlpkit.one_text import refuse_one_text
from nlpkit.text_files import read_lines

Item = TypeVar("Item")
#: Cuts items into parts, whose borders depend on nothing but the items.
Cut = Callable[[Iterable[Item]], Iterator[list[Item]]]


class Stretch(NamedTuple):
    """A file from some item on."""

    path: Path
    skip: int = 0  #: items at its beginning that are left out


@dataclass(frozen=True)
class FileParts(Generic[Item]):
    """What files hold, in parts of which each is of one file; may be read again and again, and anywhere.

    Args:
        stretches: the files, in order.
        read: the items of a file; like the following a function of a module or a ``partial`` of one, which other
            processes import.
        cut: items to parts.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     _ = path.write_text("一\\n二\\n三\\n", "utf-8")
        ...     list(FileParts((Stretch(path),), read_lines, so_many(2)))
        [['一', '二'], ['三']]
    """

    stretches: tuple[Stretch, ...]
    read: Callable[[Path], Iterator[Item]]
    cut: Cut[Item]

    def __iter__(self) -> Iterator[list[Item]]:
        return (part for stretch in self.stretches for part in self.of(stretch))

    def of(self, stretch: Stretch) -> Iterator[list[Item]]:
        """The parts of one file."""
        return self.cut(islice(self.read(stretch.path), stretch.skip, None))


class TextFiles:
    """The lines of text files, one file after the other; may be read again and again, and anywhere.

    Args:
        paths: files, plain, ``.gz`` or ``.xz``, each line a text.
        skip: lines at the beginning of the first that are left out.

    Raises:
        ValueError: no files.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     _ = path.write_text("一\\n二\\n三\\n", "utf-8")
        ...     list(TextFiles([path])), list(TextFiles([path]).after(2))
        (['一', '二', '三'], ['三'])
    """

    def __init__(self, paths: Sequence[str | Path], skip: int = 0) -> None:
        if not paths:
            raise ValueError("there are no files; name one or more")
        refuse_one_text("paths", paths)
        first, *others = map(Path, paths)
        self.stretches = (Stretch(first, skip), *map(Stretch, others))

    def __iter__(self) -> Iterator[str]:
        return (line for path, skip in self.stretches for line in islice(read_lines(path), skip, None))

    def after(self, lines: int) -> TextFiles:
        """The same files without lines at their beginning, all of them if there are no more."""
        paths = [path for path, _ in self.stretches]
        skip = self.stretches[0].skip + lines
        while len(paths) > 1 and skip >= (held := sum(1 for _ in read_lines(paths[0]))):
            del paths[0]
            skip -= held
        return TextFiles(paths, skip)


def parts_of(texts: Iterable[str], cut: Cut[str]) -> Iterable[list[str]]:
    """Texts in parts; those of files as ``FileParts``, which any engine takes."""
    return FileParts(texts.stretches, read_lines, cut) if isinstance(texts, TextFiles) else cut(texts)


def so_many(items: int) -> Cut[Item]:
    """Cuts into parts of so many items, all but the last.

    Example:
        >>> list(so_many(2)("abc"))
        [['a', 'b'], ['c']]
    """
    return partial(_so_many, items)


def characters_of(number: int) -> Cut[str]:
    """Cuts into parts of at least so many characters, all but the last.

    Raises:
        TypeError: while cutting: what is no text.

    Example:
        >>> list(characters_of(3)(["今天", "好", "天气", "很"]))
        [['今天', '好'], ['天气', '很']]
    """
    return partial(_characters_of, number)


def _characters_of(number: int, texts: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"corpus, text {place} is a {type(text).__name__}; every text must be a str"
                + (", such as rows['text'] of a data set" if isinstance(text, Mapping) else "")
            )
        part.append(text)
        size += len(text)
        if size >= number:
            yield part
            part, size = [], 0
    if part:
        yield part


def _so_many(number: int, items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while part := list(islice(remaining, number)):
        yield part
