"""Answers that satisfy equations, exactly or as far as they are rounded."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from nlpkit.tasks.math import ExpressionError, satisfies

SMALL = st.integers(-9, 9)


@given(SMALL, SMALL, SMALL, SMALL, SMALL, SMALL)
def test_solutions_of_sympy_satisfy_linear_systems(a: int, b: int, c: int, d: int, e: int, f: int) -> None:
    assume(a * d != b * c)
    x, y = sympy.symbols("x y")
    ((first, second),) = sympy.linsolve([a * x + b * y - e, c * x + d * y - f], x, y)
    answers = [Fraction(int(value.p), int(value.q)) for value in (first, second)]
    system = f"{a}*x + {b}*y = {e}; {c}*x + {d}*y = {f}"
    assert satisfies(system, answers, tolerance=0)
    assert satisfies(system, answers[::-1], tolerance=0)
    assert satisfies(system, [float(answer) for answer in answers])
    moved = [answers[0] + 1, answers[1]]
    values = [value[0] * a + value[1] * b == e and value[0] * c + value[1] * d == f for value in (moved, moved[::-1])]
    assert satisfies(system, moved, tolerance=0) is any(values)


@pytest.mark.parametrize(
    ("system", "answers", "holds"),
    [
        ("( x - 40.0 ) * ( 180.0 - 10.0 * ( x - 52.0 ) ) = 2000.0", [60, 50], True),
        ("( x - 40.0 ) * ( 180.0 - 10.0 * ( x - 52.0 ) ) = 2000.0", [60, 51], False),
        ("x^2 - x - 2 = 0", [2], True),
        ("x^2 - x - 2 = 0", [2.00001], True),
        ("x^2 - x - 2 = 0", [2.01], False),
        ("0.7*(1+x) = 1", [0.42857142857142855], True),
        ("36*(1-x)^2 = 25", [0.167], False),
        ("y = 2*x = 6", [3, 6], True),
        ("x + y ＝ 10；y ＝ x − 2", [6, 4], True),
        ("x + y = 10; y = x - 2", [5, 5], False),
        ("3*x = 0", [0], True),
        ("3*x + 1 = 1.00001", [0], False),
        ("x = x", [7], True),
        ("x + y = 10; y = x - 2; ", [6, 4], True),
        ("x ＝ 1；", [2], False),
    ],
)
def test_systems(system: str, answers: list[float], holds: bool) -> None:
    assert satisfies(system, answers) is holds


@pytest.mark.parametrize(
    ("system", "answers", "kind", "message"),
    [
        ("x + 1", [1], ExpressionError, "has no '='; give equations, parted by ';'"),
        ("1 = 1", [1], ExpressionError, "has 0 unknowns"),
        ("x = 1;;", [1], ExpressionError, "'': it is empty"),
        ("a+b+c+d+e=1", [1] * 5, ExpressionError, "has 5 unknowns; equations have 1 to 4"),
        ("3 x = 1", [1], ExpressionError, "no operator between '3' and 'x'"),
        ("1/x = 1", [0], ExpressionError, "divides by zero"),
        ("x = 1", [], ValueError, "0 answers for the unknowns x"),
        ("x + y = 1", [1], ValueError, "1 answers for the unknowns x, y"),
    ],
)
def test_what_cannot_be_checked(system: str, answers: list[float], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        satisfies(system, answers)


def test_a_negative_tolerance() -> None:
    with pytest.raises(ValueError, match=r"tolerance=-1: give a finite number at least 0"):
        satisfies("x = 1", [1], -1)
