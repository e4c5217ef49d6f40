"""Whether answers satisfy equations that have unknowns on their sides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, permutations

from nlpkit.checked_number import checked_number
from nlpkit.one_text import refuse_one_text
from nlpkit.tasks.math.answers import TOLERANCE
from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.expressions import evaluate_postfix, to_postfix
from nlpkit.tasks.math.scanning import shorten
from nlpkit.tasks.math.signs import fold_expression
from nlpkit.tasks.math.values import Number, exact

#: Most unknowns of a system; answers are tried in every order.
MAX_UNKNOWNS = 4

Steps = list[str]


def satisfies(system: str, answers: Sequence[Number], tolerance: float = TOLERANCE) -> bool:
    """Whether the answers of a problem satisfy its equations.

    Args:
        system: equations parted by ``;``, or each with one behind it, with unknowns of one letter each, e.g.
            ``x + y = 10; y = x - 2``. Of ``a = b = c`` all sides must be equal.
        answers: one number per unknown, in any order; or, for one unknown, each of its solutions.
        tolerance: by which an answer may be rounded, relative to itself.

    Returns:
        Whether in every equation the two sides differ by no more than it changes their difference to move each
        unknown by the tolerance. Where that changes nothing, the sides must be equal.

    Raises:
        ExpressionError: an equation has no ``=``, a side is no expression or divides by zero, or there are no
            unknowns or more than four; or an answer is NaN or infinite.
        TypeError: the system is no text, or an answer is no number.
        ValueError: there are no answers, not as many as unknowns, or the tolerance is negative or not a number.

    Note:
        It checks answers and solves nothing: other numbers may satisfy the equations as well, as all do ``x = x``.

    Example:
        >>> satisfies("x + y = 10; y = x - 2", [6, 4]), satisfies("x^2 = 2", [1.41421]), satisfies("3*x = 2", [1])
        (True, True, False)
    """
    if not isinstance(system, str):
        raise TypeError(f"a system must be a text; this is a {type(system).__name__}, {system!r}")
    refuse_one_text("answers", answers, "numbers")
    checked_number("tolerance", tolerance, least=0)
    text = fold_expression(system).replace("；", ";")
    names = sorted(set(re.findall("[A-Za-z]", text)))
    if not 1 <= len(names) <= MAX_UNKNOWNS:
        raise ExpressionError(f"{shorten(system)} has {len(names)} unknowns; equations have 1 to {MAX_UNKNOWNS}")
    pairs = [pair for equation in text.strip().removesuffix(";").split(";") for pair in _pairs(equation, names)]
    found = [exact(f"answer {number}", answer) for number, answer in enumerate(answers)]
    if not found or len(found) != len(names) > 1:
        raise ValueError(f"{len(found)} answers for the unknowns {', '.join(names)} of {shorten(system)}")
    moved = exact("tolerance", tolerance)
    if len(names) == 1:
        return all(_hold(pairs, {names[0]: answer}, moved) for answer in found)
    return any(_hold(pairs, dict(zip(names, order, strict=True)), moved) for order in permutations(found))


def _pairs(equation: str, names: Sequence[str]) -> list[tuple[Steps, Steps]]:
    sides = [to_postfix(side, names) for side in equation.split("=")]
    if len(sides) < 2:
        raise ExpressionError(f"{shorten(equation)} has no '='; give equations, parted by ';'")
    return list(pairwise(sides))


def _hold(pairs: Sequence[tuple[Steps, Steps]], values: Mapping[str, Fraction], tolerance: Fraction) -> bool:
    return all(_holds(pair, values, tolerance) for pair in pairs)


def _holds(pair: tuple[Steps, Steps], values: Mapping[str, Fraction], tolerance: Fraction) -> bool:
    difference = _difference(pair, values)
    if difference == 0:
        return True
    slack = sum(
        max(abs(_difference(pair, {**values, name: value * factor}) - difference) for factor in _moves(tolerance))
        for name, value in values.items()
    )
    return abs(difference) <= slack


def _moves(tolerance: Fraction) -> tuple[Fraction, Fraction]:
    return 1 - tolerance, 1 + tolerance


def _difference(pair: tuple[Steps, Steps], values: Mapping[str, Fraction]) -> Fraction:
    return evaluate_postfix(pair[0], values) - evaluate_postfix(pair[1], values)
