"""Words and labels inside Penn Treebank brackets, where neither white space nor round brackets can stand."""

from __future__ import annotations

import re

_BLANK = "\N{OPEN BOX}"  # no white space to any reader, and seldom in a text
_WHITE_SPACE = re.compile(r"\s")


def to_penn(word: str) -> str:
    """A word as it can stand inside brackets.

    Args:
        word: as in the text, not empty.

    Returns:
        The word with ``-LRB-`` and ``-RRB-`` for round brackets, as in the Penn Treebank, and with ``␣`` for each
        white space, for which that has no sign.

    Example:
        >>> to_penn("f(x)"), to_penn("10 000")
        ('f-LRB-x-RRB-', '10␣000')
    """
    return _WHITE_SPACE.sub(_BLANK, word.replace("(", "-LRB-").replace(")", "-RRB-"))


def from_penn(word: str) -> str:
    """The word that ``to_penn`` wrote; any white space comes back as a blank.

    Args:
        word: as it stands inside brackets.

    Example:
        >>> from_penn("f-LRB-x-RRB-"), from_penn("10␣000")
        ('f(x)', '10 000')
    """
    return word.replace("-LRB-", "(").replace("-RRB-", ")").replace(_BLANK, " ")
