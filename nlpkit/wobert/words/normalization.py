"""Text as uncased BERT sees it, with the way back to the original characters."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

#: Most Chinese text at a glance: no character of these ranges changes its place when normalised.
_PLAIN = re.compile("[ -~\u2002-\u2064\u3001-\u3029\u4e00-\u9fff\uff00-\uffef]*").fullmatch


class Normalized(NamedTuple):
    """A normalised text; character ``i`` comes from ``original[starts[i]:ends[i]]``, or from ``original[i]`` alone.

    ``starts`` and ``ends`` are ``None`` where every character stayed in place.
    """

    text: str
    starts: list[int] | None
    ends: list[int] | None


def normalize(text: str) -> str:
    """Lower-case, decompose (NFD) and drop combining marks.

    Source: uncased BERT's basic tokenizer, as WoBERT's reference applies it to the whole text before segmenting.

    Args:
        text: any string.

    Returns:
        The normalised text.

    Example:
        >>> normalize("Café ＡＢ")
        'cafe ａｂ'
    """
    lowered = text.lower()
    if _stays_in_place(text, lowered):
        return lowered
    decomposed = unicodedata.normalize("NFD", lowered)
    return "".join([character for character in decomposed if unicodedata.category(character) != "Mn"])


def normalize_with_origins(text: str) -> Normalized:
    """Normalise a text and keep, for each character of the result, the span of the original that it stands for.

    Combining marks that are dropped belong to the span of the character before them.

    Args:
        text: any string.

    Returns:
        The same text as ``normalize`` gives, with its origins.

    Note:
        Linear; free of bookkeeping for texts in which no character changes its place (nearly all Chinese text).

    Example:
        >>> normalize_with_origins("e\\u0301t")
        Normalized(text='et', starts=[0, 2], ends=[2, 3])
    """
    lowered = text.lower()
    if _stays_in_place(text, lowered):
        return Normalized(lowered, None, None)
    pieces = [
        (piece, origin)
        for origin, character in enumerate(text)
        for piece in unicodedata.normalize("NFD", character.lower())
    ]
    origins = [origin for _, origin in _in_canonical_order(pieces)]
    # The whole is the truth: a sigma lower-cased alone cannot know that it ends a word.
    decomposed = unicodedata.normalize("NFD", lowered)
    kept: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for character, origin in zip(decomposed, origins, strict=True):
        if unicodedata.category(character) != "Mn":
            kept.append(character)
            starts.append(origin)
            ends.append(origin + 1)
        elif ends:
            ends[-1] = max(ends[-1], origin + 1)
    return Normalized("".join(kept), starts, ends)


def _in_canonical_order(pieces: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort each stretch of combining characters by combining class, as NFD does across character borders."""
    ordered: list[tuple[str, int]] = []
    for _, run in groupby(pieces, key=lambda piece: unicodedata.combining(piece[0]) > 0):
        ordered += sorted(run, key=lambda piece: unicodedata.combining(piece[0]))
    return ordered


def _stays_in_place(text: str, lowered: str) -> bool:
    return _PLAIN(text) is not None or (
        len(lowered) == len(text)
        and unicodedata.is_normalized("NFD", lowered)
        and _combining_marks().isdisjoint(lowered)
    )


@lru_cache(maxsize=1)
def _combining_marks() -> frozenset[str]:
    return frozenset(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Mn")
