"""Numbers that a user gives as answers or for unknowns, as fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real

from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.scanning import shorten

#: NumPy's numbers count among them, as theirs say of themselves.
Number = int | float | Fraction | Decimal


def exact(name: str, given: Number) -> Fraction:
    """The value of a number.

    Args:
        name: of the argument, for errors.
        given: the number.

    Raises:
        ExpressionError: it is NaN or infinite.
        TypeError: it is none; a truth value is none.

    Example:
        >>> exact("gold", 0.5), exact("gold", Decimal("0.1"))
        (Fraction(1, 2), Fraction(1, 10))
    """
    number: object = given
    if isinstance(number, bool) or not isinstance(number, Real | Decimal):
        raise TypeError(f"{name} must be a number; it is a {type(given).__name__}, {shorten(str(given))}")
    if isinstance(number, Integral):
        return Fraction(int(number))
    if isinstance(number, Rational):
        return Fraction(number)
    value = number if isinstance(number, Decimal) else float(number)
    if not -float("inf") < value < float("inf"):
        raise ExpressionError(f"{name} is {given}, which is no number")
    return Fraction(value)
