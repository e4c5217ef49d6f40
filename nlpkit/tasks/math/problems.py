"""Numbers in the text of a problem, spelled as the canonical form of its equation spells them."""

from __future__ import annotations

import re

from nlpkit.tasks.math.signs import fold_problem

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
#: What ``int`` reads; no problem has longer ones.
_PART = r"([0-9]{1,100})(?![0-9])\s*"
_FRACTION = rf"[(（]\s*{_PART}/\s*{_PART}[)）]"
_DOUBLE_FRACTION = rf"[(（]\s*[(（]\s*{_PART}[)）]\s*/\s*[(（]\s*{_PART}[)）]\s*[)）]"
_MIXED = re.compile(rf"(?<![0-9.])([0-9]+)\s*(?:{_FRACTION}|{_DOUBLE_FRACTION})")
#: Behind a fraction, as in "it lost 1/3又1/3 m", the word is "and then".
_WHOLE = r"(?<![0-9./])(?<!分之)([0-9]+)\s*又\s*"
_MIXED_BY_WORD = re.compile(rf"{_WHOLE}(?:{_FRACTION}|{_DOUBLE_FRACTION}|{_PART}/\s*([0-9]{{1,100}})(?![0-9]))")
_MIXED_IN_WORDS = re.compile(rf"{_WHOLE}{_PART}分之\s*([0-9]{{1,100}})(?![0-9])")
#: Read together with a denominator that stands before it.
_GOES_ON = r"\.?[0-9]|,[0-9]{3}(?![0-9])"
_PERCENT = re.compile(rf"(?<![0-9.])({_NUMBER})\s*%(?!\s*(?:[%(（^A-Za-z]|\*\*)|{_GOES_ON})")
_BRACKETED = re.compile(rf"{_FRACTION}|{_DOUBLE_FRACTION}")
#: With arithmetic beside them, brackets may be needed: 8/(1/5).
_BINDS_BEFORE = re.compile(r"[0-9A-Za-z)(）+\-*/^:=.%]")
_BINDS_BEHIND = re.compile(rf"\s*(?:[0-9A-Za-z(+\-*/^:=%]|（\s*[0-9(（])|{_GOES_ON}")


def normalise_problem(text: str) -> str:
    """The text of a problem with its numbers in one spelling, that of ``normalise_equation``.

    Args:
        text: of a problem, Chinese or English.

    Returns:
        The text with ASCII digits and signs in numbers, ``20%`` as ``20/100``, ``1(1/2)``, ``1又1/2`` and
        ``1又2分之1`` as ``(1+1/2)``, ``(3/4)`` and ``((3)/(4))`` as ``3/4`` where no arithmetic and no
        letter stands beside it, ``3：4`` as ``3:4``, and ``1,200`` as ``1200``. Units, words, punctuation and spaces
        stay, and so does ``1，200``, which is a list of two numbers. What is arithmetic keeps its value.

    Raises:
        TypeError: it is no text.

    Note:
        A colon stays a colon, since ``8:50`` may be a time. Numbers in Chinese characters (``三分之一``) stay.

    Example:
        >>> normalise_problem("甲数是１(１/２)，乙数是它的(3/4)，丙比乙多20%，共1,200㎡，比是3：4．")
        '甲数是(1+1/2)，乙数是它的3/4，丙比乙多20/100，共1200㎡，比是3:4．'
    """
    if not isinstance(text, str):
        raise TypeError(f"a problem must be a text; this is a {type(text).__name__}, {text!r}")
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), fold_problem(text))
    text = _MIXED.sub(lambda found: _mixed(found[0], *_given(found)), text)
    text = _MIXED_BY_WORD.sub(lambda found: _mixed(found[0], *_given(found)), text)
    text = _MIXED_IN_WORDS.sub(lambda found: _mixed(*found.group(0, 1, 3, 2)), text)
    text = _PERCENT.sub(_hundredths, text)
    return _without_needless_brackets(text)


def _hundredths(found: re.Match[str]) -> str:
    text, start = found.string, found.start()
    if _would_be_mixed(text, start):
        return found[0]
    sign = _end_before(text, start, "+-")
    is_bound = sign > 0 and (text[sign - 1] in "/:^" or text[max(0, sign - 2) : sign] == "**")
    return f"({found[1]}/100)" if is_bound else f"{found[1]}/100"


def _would_be_mixed(text: str, place: int) -> bool:
    """Whether a fraction at a place would be that of a whole number before it: 3(20/100), 3又(20/100)."""
    whole = _end_before(text, place)
    for signs in ("(（", "又"):
        if whole and text[whole - 1] in signs:
            whole = _end_before(text, whole - 1)
    return 0 < whole < _end_before(text, place) and text[whole - 1].isdecimal()


def _without_needless_brackets(text: str) -> str:
    parts, done = [], 0
    for found in _BRACKETED.finditer(text):
        start, end = _with_brackets_around(text, *found.span())
        fraction = "/".join(_given(found))
        if start >= done and _is_alone(text, start, end, fraction):
            parts += [text[done:start], fraction]
            done = end
    return "".join(parts) + text[done:]


def _with_brackets_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of a fraction with all brackets around it, as in （(7/3)）."""
    while True:
        opening, closing = _end_before(text, start) - 1, _start_behind(text, end)
        if opening < 0 or text[opening] not in "(（" or text[closing : closing + 1] not in (")", "）"):
            return start, end
        start, end = opening, closing + 1


def _is_alone(text: str, start: int, end: int, fraction: str) -> bool:
    before = _end_before(text, start)
    if before and _BINDS_BEFORE.match(text, before - 1):
        return False
    if re.search("[0-9)）],\\Z", text[max(0, start - 2) : start]) and re.match("[0-9]{3}/", fraction):
        return False  # 1,100/3 would be read as 1100/3
    return _BINDS_BEHIND.match(text, end) is None


def _end_before(text: str, place: int, signs: str = "") -> int:
    """The place behind the last character before a place that is neither white space nor one of the signs."""
    while place > 0 and (text[place - 1].isspace() or text[place - 1] in signs):
        place -= 1
    return place


def _start_behind(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _mixed(text: str, whole: str, top: str, bottom: str) -> str:
    """As an expression, if it is a mixed fraction and no product."""
    return f"({whole}+{top}/{bottom})" if int(top) < int(bottom) else text


def _given(found: re.Match[str]) -> list[str]:
    return [group for group in found.groups() if group is not None]
