"""Arithmetic expressions read safely: no ``eval``, exact values, and a bound for everything that could grow."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.scanning import MAX_CHARACTERS, MAX_DIGITS, Token, scan, shorten
from nlpkit.tasks.math.signs import fold_expression
from nlpkit.tasks.math.values import Number, exact

#: Most brackets that may stand inside one another.
MAX_DEPTH = 100
#: Largest exponent, and the negative of the smallest.
MAX_EXPONENT = 1_000

OPERATORS = ("+", "-", "*", "/", "**")
_MAX_BITS = int(MAX_DIGITS * 3.3219)
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, ":": 2, "negative": 3, "**": 4}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ANSWER_IS = re.compile(r"\A\s*[A-Za-z]\s*=")


def evaluate(text: str, values: Mapping[str, Number] | None = None) -> Fraction:
    """The exact value of an arithmetic expression.

    Args:
        text: ``+ - * / **`` (also ``^ × ÷ :``), brackets ``() [] {}``, percent, decimals, mixed fractions ``1(1/2)``
            and ``1又1/2``, thousands ``1,200``, full-width forms, perhaps behind ``x=``. Precedence is Python's:
            powers bind from the right and tighter than a minus before them. ``:`` is a division.
        values: of unknowns, one letter each.

    Returns:
        The value; percent counts hundredths.

    Raises:
        ExpressionError: the text is empty, longer than 10,000 characters or no expression; has an unknown without a
            value, an operator left out (``2(3+4)``, ``(1/2)(2/3)``), a ratio of three (``1:2:3``), more than 100
            brackets inside one another, an exponent that is not whole or beyond 1,000, or a number or result of more
            than 1,000 digits; or divides by zero.
        TypeError: it is no text, or a value is no number.

    Note:
        Time is linear in the length, with at most a 1,000-digit operation per sign: 10,000 characters take well below
        a second. Decimals are exact: 0.1 is 1/10.

    Example:
        >>> evaluate("x=40/(1-80%)"), evaluate("3(1/2)×［2＋1］"), evaluate("-2**2")
        (Fraction(200, 1), Fraction(21, 2), Fraction(-4, 1))
        >>> evaluate("2**9**9**9")
        Traceback (most recent call last):
        nlpkit.tasks.math.errors.ExpressionError: '2**9**9**9': the exponent 387420489 is beyond 1000
    """
    return evaluate_postfix(to_postfix(text, values or ()), values, text)


def to_postfix(text: str, unknowns: Collection[str] = ()) -> list[str]:
    """An expression as the steps of a calculator: numbers, each operator behind its two operands.

    Args:
        text: as for ``evaluate``.
        unknowns: letters that may stand for numbers.

    Returns:
        Numbers as they were written, unknowns, and ``+ - * / **``. Of percent ``20%`` comes ``20 100 /``, of a mixed
        fraction ``1(1/2)`` ``1 1 2 / +``, and of a minus with nothing before it ``0 x -``.

    Raises:
        ExpressionError: as ``evaluate``, but for what only values show.
        TypeError: it is no text.

    Example:
        >>> " ".join(to_postfix("x=(70+6)/(3+20%)"))
        '70 6 + 3 20 100 / + /'
    """
    if not isinstance(text, str):
        raise TypeError(f"an expression must be a text; this is a {type(text).__name__}, {text!r}")
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"{shorten(text)} has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    try:
        return _parse(_ANSWER_IS.sub("", fold_expression(text)), unknowns)
    except ExpressionError as error:
        raise ExpressionError(f"{shorten(text)}: {error}") from None


def evaluate_postfix(
    steps: Sequence[str], values: Mapping[str, Number] | None = None, source: str | None = None
) -> Fraction:
    """The exact value of an expression in postfix form.

    Args:
        steps: as ``to_postfix`` gives them, or a model.
        values: of unknowns.
        source: what messages quote; the steps by default.

    Returns:
        The value.

    Raises:
        ExpressionError: the steps are no expression, or have no value within the limits of ``evaluate``.

    Example:
        >>> evaluate_postfix(["1", "2", "3", "*", "+"])
        Fraction(7, 1)
    """
    stack: list[Fraction] = []
    try:
        for step in steps:
            if step not in OPERATORS:
                stack.append(_number(step, values or {}))
            elif len(stack) < 2:
                raise ExpressionError(f"the operator {step!r} has fewer than two numbers before it")
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(_apply(step, left, right))
        if len(stack) != 1:
            raise ExpressionError("it is empty" if not stack else f"{len(stack)} numbers are left, with no operator")
    except ExpressionError as error:
        raise ExpressionError(f"{shorten(' '.join(steps) if source is None else source)}: {error}") from None
    return stack[0]


def _parse(text: str, unknowns: Collection[str]) -> list[str]:
    """Dijkstra's shunting yard: no recursion, so that no depth of brackets can exhaust the stack."""
    steps: list[str] = []
    waiting: list[str] = []  # operators and open brackets
    depth, before = 0, ""
    wants_operand = True
    for token in scan(text):
        if token.kind in ("number", "mixed", "name", "open"):
            if not wants_operand:
                raise ExpressionError(
                    f"there is no operator between {before!r} and {token.text!r} at character {token.place}; "
                    "write * for a product"
                )
            if token.kind == "open":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ExpressionError(f"more than {MAX_DEPTH} brackets stand inside one another")
                waiting.append(token.text)
            else:
                steps += _operand(token, unknowns)
                wants_operand = False
        elif wants_operand and token.text in ("+", "-"):
            if token.text == "-":
                steps.append("0")
                waiting.append("negative")
        elif wants_operand:
            raise ExpressionError(f"a number is missing before {token.text!r} at character {token.place}")
        elif token.kind == "close":
            depth -= 1
            _close(token, steps, waiting)
        elif token.text == "%":
            steps += ["100", "/"]
        else:
            _make_way(token, steps, waiting)
            waiting.append(token.text)
            wants_operand = True
        before = token.text
    if wants_operand:
        raise ExpressionError("the expression ends where a number must follow" if before else "it is empty")
    while waiting:
        if waiting[-1] in _CLOSING:
            raise ExpressionError(f"a bracket {waiting[-1]!r} is not closed")
        steps.append(_step(waiting.pop()))
    return steps


def _operand(token: Token, unknowns: Collection[str]) -> list[str]:
    if token.kind == "mixed":
        return [*token.parts, "/", "+"]
    if token.kind == "name" and token.text not in unknowns:
        raise ExpressionError(f"{token.text!r} at character {token.place} has no value; leave out units and words")
    return [token.text]


def _make_way(token: Token, steps: list[str], waiting: list[str]) -> None:
    """Operators that bind as tightly as the next one are applied before it; powers bind from the right."""
    least = _BINDS[token.text] + (token.text == "**")
    while waiting and _BINDS.get(waiting[-1], 0) >= least:
        if waiting[-1] == token.text == ":":
            raise ExpressionError(f"a ratio of three has no value; see ':' at character {token.place}")
        steps.append(_step(waiting.pop()))


def _close(token: Token, steps: list[str], waiting: list[str]) -> None:
    while waiting and waiting[-1] not in _CLOSING:
        steps.append(_step(waiting.pop()))
    if not waiting or _CLOSING[waiting.pop()] != token.text:
        raise ExpressionError(f"the bracket {token.text!r} at character {token.place} closes none of its kind")


def _step(operator: str) -> str:
    return {"negative": "-", ":": "/"}.get(operator, operator)


def _number(step: str, values: Mapping[str, Number]) -> Fraction:
    if step in values:
        return exact(step, values[step])
    if re.fullmatch(r"[0-9]*\.?[0-9]+", step) is None:
        raise ExpressionError(f"{step!r} is neither a number nor one of {' '.join(OPERATORS)}")
    if len(step) > MAX_DIGITS:
        raise ExpressionError(f"a number has more than {MAX_DIGITS} digits")
    return Fraction(step)


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "**":
        return _power(left, right)
    if operator == "/" and right == 0:
        raise ExpressionError("it divides by zero")
    result = {
        "+": Fraction.__add__,
        "-": Fraction.__sub__,
        "*": Fraction.__mul__,
        "/": Fraction.__truediv__,
    }[operator](left, right)
    if _bits(result) > _MAX_BITS:
        raise ExpressionError(f"a result has more than {MAX_DIGITS} digits")
    return result


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ExpressionError(f"the exponent {exponent} is not whole, so that the result need not be rational")
    if abs(exponent) > MAX_EXPONENT:
        shown = exponent if _bits(exponent) < 64 else "of more than 18 digits"
        raise ExpressionError(f"the exponent {shown} is beyond {MAX_EXPONENT}")
    if base == 0 and exponent < 0:
        raise ExpressionError("it divides by zero")
    if (_bits(base) - 1) * abs(exponent) > _MAX_BITS:  # a lower bound of the result's, before it is computed
        raise ExpressionError(f"a result has more than {MAX_DIGITS} digits")
    result = Fraction(base ** int(exponent))
    if _bits(result) > _MAX_BITS:
        raise ExpressionError(f"a result has more than {MAX_DIGITS} digits")
    return result


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
