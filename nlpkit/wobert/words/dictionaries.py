"""Dictionaries in jieba's format: its own, and user dictionaries with the lines in them that can never match."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from nlpkit.wobert.words.normalization import normalize

_ENTRY = re.compile(r"(.+?)(?: +([0-9]+))?( +[a-z]+)?")
#: How many lines a warning names.
_SHOWN = 10


class Entry(NamedTuple):
    """A line of a user dictionary: ``word [frequency] [tag]``.

    Args:
        line: its number, from 1.
        word: as written.
        frequency: ``None`` where the line gives none; 0 takes the word out of the dictionary.
        tag: part of speech, or ``None``.
    """

    line: int
    word: str
    frequency: int | None
    tag: str | None


def jieba_dictionary() -> Path:
    """The file of jieba's default dictionary: ``word frequency tag`` per line, UTF-8."""
    spec = find_spec("jieba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jieba is not installed; pip install jieba")
    return Path(spec.origin).with_name("dict.txt")


def read_user_dictionary(path: Path) -> str:
    """The text of a user dictionary, UTF-8 with or without a byte order mark.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"user_dict {path} is not UTF-8 (byte {error.start}); convert it, e.g. with iconv") from error


def entries(user_words: str) -> Iterator[Entry]:
    """The entries of a user dictionary; blank lines are left out.

    Example:
        >>> list(entries("云计算 3 n"))
        [Entry(line=1, word='云计算', frequency=3, tag='n')]
    """
    for number, line in enumerate(user_words.split("\n"), start=1):
        found = _ENTRY.fullmatch(line.strip())
        if found is not None:
            word, frequency, tag = found.groups()
            yield Entry(number, word, None if frequency is None else int(frequency), tag and tag.strip())


def warn_of_dead_lines(
    user_words: str, name: str, cut: Callable[[str], list[str]], looks_up: Callable[[str], bool]
) -> None:
    """Name the lines of a user dictionary that no text can match.

    Args:
        user_words: the dictionary's text.
        name: of its file, for the warning.
        cut: text to words, with this dictionary.
        looks_up: whether words with a character are looked up, rather than cut at it beforehand.
    """
    dead = list(_dead_lines(user_words, cut, cache(looks_up)))
    if dead:
        more = f"\n  and {len(dead) - _SHOWN:,} more" if len(dead) > _SHOWN else ""
        warnings.warn(
            f"{name}: {len(dead):,} lines can never match; mend or remove them:\n  "
            + "\n  ".join(dead[:_SHOWN])
            + more,
            stacklevel=3,
        )


def _dead_lines(user_words: str, cut: Callable[[str], list[str]], looks_up: Callable[[str], bool]) -> Iterator[str]:
    for number, word, frequency, _ in entries(user_words):
        form = normalize(word)
        if not form:
            yield f"line {number} {word!r}: nothing is left of it once normalised"
        elif re.search(r"\s", form):
            yield f"line {number} {word!r}: white space always ends a word (format: word [frequency] [tag])"
        elif len(form) > 1 and (odd := sorted({mark for mark in form if not looks_up(mark)})):
            yield f"line {number} {word!r}: jieba always cuts at {' '.join(odd)}"
        elif frequency != 0 and cut(form) != [form] and cut(word) != [word]:
            pieces = " ".join(cut(form))
            yield f"line {number} {word!r}: jieba cuts it into {pieces}; raise its frequency, or leave it out"
