"""Runs of characters that words are made of, as numbers, and the sequences of characters in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.words.script import kind_of

Codes = NDArray[np.uint32]
Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]

#: Bits of a code point; three of them fit into a key of 64 bits.
CODE_BITS = 21
#: Characters of the longest sequence that is counted.
LONGEST = 3

_UNKNOWN, _BORDER = 255, 0
_KINDS = {"chinese": 1, "kana": 2}
#: The kind of every code point that was met: a word is made of characters of one kind.
_kinds = np.full(1 << CODE_BITS, _UNKNOWN, dtype=np.uint8)


class Runs(NamedTuple):
    """The characters of a text that can stand in words of several characters, run by run.

    Args:
        codes: code points, and a single 0, the border, before, between and after runs.
        places: where in the text each character stands; -1 for borders.
    """

    codes: Codes
    places: Numbers


def find_runs(text: str) -> Runs:
    """The runs of Chinese characters and of kana in a text; whatever else it holds is a border between them.

    Args:
        text: any text; of several texts, what they are joined to by line ends.

    Returns:
        Characters and borders; a text without such characters is one border.

    Example:
        >>> runs = find_runs("好，天 カA")
        >>> [chr(code) if code else "|" for code in runs.codes]
        ['|', '好', '|', '天', '|', 'カ', '|']
        >>> runs.places.tolist()
        [-1, 0, -1, 2, -1, 4, -1]
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _kinds_of(points)
    kept = np.flatnonzero(kinds != _BORDER)
    if not len(kept):
        return Runs(np.zeros(1, dtype=np.uint32), np.full(1, -1))
    begins = np.flatnonzero((np.diff(kept) > 1) | (np.diff(kinds[kept]) != 0)) + 1
    borders = np.concatenate([[0], begins, [len(kept)]])
    return Runs(np.insert(points[kept], borders, 0), np.insert(kept, borders, -1))


def pack(codes: Codes, length: int) -> Keys:
    """All sequences of so many characters and borders, each as one number, in the order of the text.

    Args:
        codes: as ``find_runs`` gives them.
        length: characters of a sequence, 1 to ``LONGEST``.

    Returns:
        Keys, shape ``(len(codes) - length + 1,)``.

    Example:
        >>> pack(np.array([0, 3, 5], dtype=np.uint32), 2).tolist() == [3, (3 << 21) + 5]
        True
    """
    room = max(len(codes) - length + 1, 0)
    keys = np.zeros(room, dtype=np.uint64)
    for place in range(length):
        keys = (keys << np.uint64(CODE_BITS)) | codes[place : place + room]
    return keys


def without_first(keys: Keys, length: int) -> Keys:
    """What follows the first character of each sequence.

    Args:
        keys: of sequences.
        length: their characters.
    """
    return keys & np.uint64((1 << CODE_BITS * (length - 1)) - 1)


def without_last(keys: Keys) -> Keys:
    """What stands before the last character of each sequence."""
    return keys >> np.uint64(CODE_BITS)


def count_sequences(codes: Codes, length: int) -> tuple[Keys, Numbers]:
    """How often each sequence of so many characters occurs.

    A border is as good a neighbour as a character, so sequences may begin and end with one; none has one inside, and
    none is a border alone.

    Args:
        codes: as ``find_runs`` gives them.
        length: characters of a sequence, 1 to ``LONGEST``.

    Returns:
        Keys, rising, and the count of each.

    Example:
        >>> keys, counts = count_sequences(find_runs("好好，好").codes, 1)
        >>> [chr(key) for key in keys], counts.tolist()
        (['好'], [3])
    """
    keys = pack(codes, length)
    if length != 2:  # of two neighbours, one is a character anyway
        keys = keys[codes[length // 2 :][: len(keys)] != 0]
    keys = np.sort(keys)
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return keys[begins], np.diff(np.append(begins, len(keys)))


def _kinds_of(points: Codes) -> NDArray[np.uint8]:
    kinds = _kinds[points]
    for point in np.unique(points[kinds == _UNKNOWN]).tolist():
        _kinds[point] = _KINDS.get(kind_of(chr(point)), _BORDER)
    return _kinds[points]
