"""Digits and signs of arithmetic as Chinese texts write them, and the same in ASCII."""

from __future__ import annotations

import re

#: Not Unicode's own normalisation: it would change units, ㎡ into m2 and ℃ into °C.
_DIGITS = {ord("０") + digit: str(digit) for digit in range(10)} | {ord("％"): "%"}
_OPERATORS = str.maketrans("＋－−＊÷／＝＾", "+--*//=^")
_BRACKETS = str.maketrans("（）［］｛｝【】", "()[]{}[]")
_LETTERS = {ord(wide) + place: chr(ord(narrow) + place) for wide, narrow in ("ＡA", "ａa") for place in range(26)}
_POINT = re.compile(r"(?<=[0-9])．(?=[0-9])")
#: Beside a percentage or a bracket it ends a sentence, and no decimal may come of it when that is spelled otherwise.
_STOP = re.compile(r"(?<=[%)）])．(?=[0-9(（])|(?<=[0-9])．(?=[(（])")
_COLON = re.compile(r"(?<=[0-9%)）])[：∶](?=[0-9(（])")


def fold_problem(text: str) -> str:
    """A text in which digits, operators, points and colons of numbers are ASCII; the rest is as it was.

    Args:
        text: of a problem. A full-width point is punctuation unless digits stand on both sides of it, and a colon
            unless digits, ``%`` or brackets do. A point that ends a sentence between ``%`` or brackets and a number
            comes as ``。``.

    Example:
        >>> fold_problem("比是３：４．５，一共（约）７０㎡．")
        '比是3:4.5，一共（约）70㎡．'
    """
    text = text.translate(_DIGITS).translate(_OPERATORS).replace("×", "*")
    return _COLON.sub(":", _POINT.sub(".", _STOP.sub("。", text)))


def fold_expression(text: str) -> str:
    """An expression in ASCII, but for ``×``: two of them are no power.

    Args:
        text: without words, so that every point and colon belongs to the arithmetic.

    Example:
        >>> fold_expression("ｘ＝（２．５＋３）÷１０％")
        'x=(2.5+3)/10%'
    """
    text = text.translate(_DIGITS).translate(_OPERATORS).translate(_BRACKETS)
    return text.translate(_LETTERS).translate({ord("．"): ".", ord("："): ":", ord("∶"): ":", ord("，"): ","})
