"""Cuts an expression into numbers, mixed fractions, unknowns, operators and brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nlpkit.tasks.math.errors import ExpressionError

#: Longest expression that is read, in characters.
MAX_CHARACTERS = 10_000
#: Most digits of a number, and of the numerator and denominator of every result.
MAX_DIGITS = 1_000

_THOUSANDS = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9,])(?:\.[0-9]+)?"
_MIXED = r"""[0-9]+\s*(?:
    (?:又\s*)?(?:\(\s*[0-9]+\s*/\s*[0-9]+\s*\) | \(\s*\(\s*[0-9]+\s*\)\s*/\s*\(\s*[0-9]+\s*\)\s*\))
  | 又\s*[0-9]+\s*(?:/|分之)\s*[0-9]+)"""
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<mixed>{_MIXED})
      | (?P<number>{_THOUSANDS}|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<name>[A-Za-z])
      | (?P<operator>\*\*|[-+*/×^%:])
      | (?P<open>[(\[{{])
      | (?P<close>[)\]}}])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_PLAIN = {"^": "**", "×": "*"}


class Token(NamedTuple):
    """A piece of an expression.

    Attributes:
        kind: ``number``, ``mixed``, ``name``, ``operator``, ``open`` or ``close``.
        text: as it stands; ``^`` comes as ``**``, ``×`` as ``*``, and thousands without separators.
        place: of its first character, from 1.
        parts: the whole, the numerator and the denominator of a mixed fraction.
    """

    kind: str
    text: str
    place: int
    parts: tuple[str, ...] = ()


def scan(text: str) -> Iterator[Token]:
    """Cut an expression into tokens.

    Args:
        text: in ASCII, but for ``×`` and for ``又`` and ``分之`` of mixed fractions.

    Yields:
        Tokens in their order.

    Raises:
        ExpressionError: a character or a number that no expression has.

    Example:
        >>> [token.text for token in scan("1,200/3(1/2)^2")]
        ['1200', '/', '3(1/2)', '**', '2']
    """
    place = 0
    while True:
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(_what_is_wrong(text, place))
        kind, place = str(found.lastgroup), found.end()
        if kind == "end":
            return
        piece, start = found[kind], found.start(kind) + 1
        digits = re.findall("[0-9]+", piece)
        if any(len(run) > MAX_DIGITS for run in digits):
            raise ExpressionError(f"the number at character {start} has more than {MAX_DIGITS} digits")
        if kind == "mixed":
            yield Token(kind, piece, start, _mixed_parts(piece, digits, start))
        else:
            yield Token(kind, _PLAIN.get(piece, piece.replace(",", "")), start)


def shorten(text: str) -> str:
    """The beginning of a text, for messages."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _mixed_parts(piece: str, digits: list[str], place: int) -> tuple[str, str, str]:
    whole, top, bottom = digits if "分" not in piece else (digits[0], digits[2], digits[1])
    if int(top) >= int(bottom):
        raise ExpressionError(
            f"{piece!r} at character {place} is no mixed fraction, whose numerator is below its denominator; "
            f"for a product write {whole}*({top}/{bottom})"
        )
    return whole, top, bottom


def _what_is_wrong(text: str, place: int) -> str:
    place += len(text[place:]) - len(text[place:].lstrip())
    sign = text[place]
    reasons = {
        "=": "give one side of an equation, or x= and one side",
        ",": "a comma parts thousands, as in 1,200, and nothing else",
        ".": "a point needs a digit behind it",
    }
    other = "leave out units and words" if sign.isalpha() else "this sign is none of + - * / ^ % ( ) and their like"
    return f"{sign!r} at character {place + 1}: {reasons.get(sign, other)}; in {shorten(text)}"
