"""Where words may not join: the kinds of characters, and the smallest pieces of text that a word is made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from nlpkit.wobert.words.word_splitter import is_chinese, is_punctuation

Kind = Literal["chinese", "kana", "letter", "digit", "punctuation", "space"]
Span = tuple[int, int]

#: Scripts written without spaces: each of their characters can begin a word.
_UNSPACED = ("chinese", "kana")
_NUMBER = re.compile(r"\d+(?:[.．]\d+)+")
_CLOSING, _OPENING = ",.;:!?%)]}'", "([{"


@lru_cache(maxsize=1 << 16)
def kind_of(character: str) -> Kind:
    """The kind of a character, as far as borders of words depend on it.

    Args:
        character: one character. Whatever is nothing else, such as combining marks and signs, counts as a letter.

    Returns:
        Its kind.

    Example:
        >>> [kind_of(character) for character in "天カA７，"]
        ['chinese', 'kana', 'letter', 'digit', 'punctuation']
    """
    if character.isspace():
        return "space"
    if is_chinese(character) or character in "々〇":
        return "chinese"
    if is_punctuation(character):
        return "punctuation"
    if character.isdecimal():
        return "digit"
    if unicodedata.name(character, "").startswith(("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")):
        return "kana"
    return "letter"


def split_characters(text: str) -> list[Span]:
    """The smallest units of a text: each Chinese character or kana, each mark, and each run of letters or of digits.

    Args:
        text: any text.

    Returns:
        The units' ranges in ``text``, half-open and in order; white space is in none, all else in one. A
        number with a decimal point is one unit. Texts in alphabetic scripts come out as their words.

    Example:
        >>> text = "iPhone 15比14贵1.5倍。"
        >>> [text[start:end] for start, end in split_characters(text)]
        ['iPhone', '15', '比', '14', '贵', '1.5', '倍', '。']
    """
    return list(_units(text))


def _units(text: str) -> Iterator[Span]:
    start = 0
    while start < len(text):
        kind = kind_of(text[start])
        end = start + 1
        if kind == "digit" and (number := _NUMBER.match(text, start)):
            end = number.end()
        elif kind not in (*_UNSPACED, "punctuation"):
            while end < len(text) and kind_of(text[end]) == kind:
                end += 1
        if kind != "space":
            yield start, end
        start = end


def may_join(text: str, left: Span, right: Span) -> bool:
    """Whether two neighbouring units can belong to one word: nothing between them, one script, no punctuation.

    Args:
        text: what the units were cut from.
        left: range of the first unit.
        right: range of the next one.

    Returns:
        ``False`` where a word cannot go on.

    Example:
        >>> text = "天气 好GPT，"
        >>> [may_join(text, (place, place + 1), (place + 1, place + 2)) for place in range(6)]
        [True, False, False, False, True, True]
    """
    if left[1] != right[0]:
        return False
    before, after = kind_of(text[left[1] - 1]), kind_of(text[right[0]])
    return before == after and before not in ("punctuation", "space")


def stands_apart(left: str, right: str) -> bool:
    """Whether running text has a space between two words: not beside Chinese or kana, nor before a closing mark.

    Args:
        left: a word, not empty.
        right: the next one.

    Returns:
        ``False`` where either border is Chinese, kana or a full-width mark, and around marks that attach to a word.

    Example:
        >>> stands_apart("the", "cat"), stands_apart("cat", "."), stands_apart("天气", "好"), stands_apart("用", "GPT")
        (True, False, False, False)
    """
    borders = left[-1] + right[0]
    if any(kind_of(border) in _UNSPACED or unicodedata.east_asian_width(border) in "FW" for border in borders):
        return False
    return right[0] not in _CLOSING and left[-1] not in _OPENING
