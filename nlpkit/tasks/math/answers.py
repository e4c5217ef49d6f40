"""Whether an equation gives the answer of a problem, and how many of a set do."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import NamedTuple

from nlpkit.checked_number import checked_number
from nlpkit.one_text import refuse_one_text
from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.expressions import evaluate, evaluate_postfix
from nlpkit.tasks.math.forms import Form, read_equation
from nlpkit.tasks.math.scanning import shorten
from nlpkit.tasks.math.values import Number, exact

Value = str | Number

TOLERANCE = 1e-4


class AnswerScores(NamedTuple):
    """How many equations give the answers of their problems.

    Attributes:
        right: equations that do.
        wrong: equations that have another value.
        broken: texts that are no expression or have no value.
        outcomes: ``right``, ``wrong`` or ``broken`` of each, in their order.
    """

    right: int
    wrong: int
    broken: int
    outcomes: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """The share of right ones among all, from 0 to 1."""
        return self.right / len(self.outcomes)


def same_answer(found: Value, gold: Value, tolerance: float = TOLERANCE) -> bool:
    """Whether a value is the answer.

    Args:
        found: an expression, or its value.
        gold: the answer; as text any expression, such as ``72%`` or ``1(1/2)``.
        tolerance: relative to the gold answer.

    Returns:
        Equal values are the same. Others are so only where one is not exact: where ``found`` is a ``float``, or
        ``gold`` is one, a ``Decimal``, or written with a decimal point, since it may have been rounded; then
        ``abs(found - gold) <= tolerance * abs(gold)``. Percent are hundredths: 72 is not ``72%``.

    Raises:
        ExpressionError: one of them has no value.
        TypeError: one of them is neither a text nor a number.
        ValueError: the tolerance is negative or not a number.

    Example:
        >>> same_answer("(1/3)", "0.33333"), same_answer("50001", "50000"), same_answer("18/25", "72%")
        (True, False, True)
    """
    checked_number("tolerance", tolerance, least=0)
    value, answer = _value(found, "found"), _value(gold, "gold")
    if value == answer:
        return True
    is_exact = isinstance(found, str | Rational | Decimal) and _is_exact(gold)
    return not is_exact and abs(value - answer) <= exact("tolerance", tolerance) * abs(answer)


def _is_exact(gold: Value) -> bool:
    return isinstance(gold, Rational) or (isinstance(gold, str) and "." not in gold.replace("．", "."))


def score_answers(
    equations: Iterable[str], gold: Iterable[Value], *, form: Form = "infix", tolerance: float = TOLERANCE
) -> AnswerScores:
    """Execute equations that a model has written, and compare their values with the answers.

    Args:
        equations: one per problem, as written; a text that is no expression counts as broken.
        gold: the answers, as for ``same_answer``.
        form: of the equations.
        tolerance: as for ``same_answer``.

    Returns:
        The counts and the outcome of each.

    Raises:
        ExpressionError: a gold answer has no value; the message gives its place.
        TypeError: an equation is no text, or equations or answers are one text.
        ValueError: there are no problems, or not as many answers.

    Example:
        >>> scores = score_answers(["x=18/(1+1)", "3/0", "1-20%"], ["9", "3", "80"])
        >>> scores.outcomes, round(scores.accuracy, 3)
        (('right', 'broken', 'wrong'), 0.333)
    """
    refuse_one_text("equations", equations)
    refuse_one_text("gold", gold, "answers")
    equations, gold = list(equations), list(gold)
    if len(equations) != len(gold) or not gold:
        raise ValueError(f"{len(equations)} equations and {len(gold)} answers; give as many of both, at least one")
    outcomes = []
    for number, (equation, answer) in enumerate(zip(equations, gold, strict=True)):
        try:
            _value(answer, "gold")
        except ExpressionError as error:
            raise ExpressionError(f"answer {number}: {error}") from None
        try:
            value = evaluate_postfix(read_equation(equation, form), source=equation)
        except ExpressionError:
            outcomes.append("broken")
            continue
        outcomes.append("right" if same_answer(value, answer, tolerance) else "wrong")
    right, wrong, broken = (outcomes.count(name) for name in ("right", "wrong", "broken"))
    return AnswerScores(right, wrong, broken, tuple(outcomes))


def _value(given: Value, name: str) -> Fraction:
    if isinstance(given, str):
        return evaluate(given)
    try:
        return exact(name, given)
    except TypeError:
        raise TypeError(
            f"{name} must be a text or a number; it is a {type(given).__name__}, {shorten(str(given))}"
        ) from None
