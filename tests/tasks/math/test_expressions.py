"""Exact values of expressions, against the values they were built from, sympy and Python; and what is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from fractions import Fraction

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.tasks.math import ExpressionError, evaluate, evaluate_postfix, to_postfix
from nlpkit.tasks.math.expressions import MAX_DEPTH, MAX_EXPONENT
from nlpkit.tasks.math.scanning import MAX_CHARACTERS, MAX_DIGITS
from tests.tasks.math.trees import ARITHMETIC, FLAT, Arithmetic


def sympy_value(text: str) -> Fraction:
    value = sympy.sympify(text, rational=True)
    return Fraction(int(value.p), int(value.q))


@given(ARITHMETIC)
def test_values_are_those_the_expressions_were_built_from(expression: Arithmetic) -> None:
    if expression.value is None:
        with pytest.raises(ExpressionError, match="divides by zero"):
            evaluate(expression.text)
    else:
        assert evaluate(expression.text) == expression.value


@given(ARITHMETIC.filter(lambda expression: expression.value is not None))
def test_values_are_those_of_sympy(expression: Arithmetic) -> None:
    assert evaluate(expression.text) == sympy_value(expression.plain)


@given(FLAT)
def test_precedence_is_that_of_python(text: str) -> None:
    try:
        found = evaluate(text)
    except ExpressionError as error:  # a root, or a power that sympy would write out
        assert re.search("is not whole|is beyond|digits", str(error))
    else:
        assert found == sympy_value(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=40/(1-80%)", 200),
        (" Y ＝ ３＋４ ", 7),
        ("－３×２÷４", Fraction(-3, 2)),
        ("3(1/2)*2", 7),
        ("1/5(1/2)", Fraction(2, 11)),
        ("2((1)/(3))", Fraction(7, 3)),
        ("1又1/2+1又3分之2", Fraction(19, 6)),
        ("8又(1/2)", Fraction(17, 2)),
        ("12 ( 7 / 8 )", Fraction(103, 8)),
        ("１（１／２）", Fraction(3, 2)),
        ("3(1/2)%", Fraction(7, 200)),
        ("4:8*10", 5),
        ("２：（５×（１／３））", Fraction(6, 5)),
        ("[{(2)}]", 2),
        ("1,200+1，000.5", Fraction(4401, 2)),
        (".5", Fraction(1, 2)),
        ("0．5", Fraction(1, 2)),
        ("007", 7),
        ("2^3^2", 512),
        ("-2**2", -4),
        ("2**-1", Fraction(1, 2)),
        ("2**-1**2", Fraction(1, 2)),
        ("2*-3+1", -5),
        ("1---1", 0),
        ("0**0", 1),
        ("5%**2", Fraction(1, 400)),
        ("50%%", Fraction(1, 200)),
        ("0.1+0.2", Fraction(3, 10)),
    ],
)
def test_forms_that_are_read(text: str, value: Fraction) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'': it is empty"),
        ("  x= ", "it is empty"),
        ("2**9**9**9", "the exponent 387420489 is beyond 1000"),
        ("2**(10**40)", "the exponent of more than 18 digits is beyond 1000"),
        ("2**-1001", "the exponent -1001 is beyond 1000"),
        ("4**(1/2)", "the exponent 1/2 is not whole"),
        ("9**999*9**999", "a result has more than 1000 digits"),
        ("(9**999)**999", "a result has more than 1000 digits"),
        ("1/0", "'1/0': it divides by zero"),
        ("1/(0.5-1/2)", "it divides by zero"),
        ("0**-1", "it divides by zero"),
        ("2(3+4)", "no operator between '2' and '(' at character 2; write * for a product"),
        ("2x", "no operator between '2' and 'x'"),
        ("(1/2)(2/3)", "no operator between ')' and '('"),
        ("0.5(1/2)", "no operator between '0.5' and '('"),
        ("1 1/2", "no operator between '1' and '1'"),
        ("7%3", "no operator between '%' and '3'"),
        ("2(3/2)", r"no mixed fraction, whose numerator is below its denominator; for a product write 2*(3/2)"),
        ("3(2/2)", "no mixed fraction"),
        ("1:2:3", "a ratio of three has no value"),
        ("3+x", "'x' at character 3 has no value"),
        ("80千米/小时", "'千' at character 3: leave out units and words"),
        ("3=3", "'=' at character 2: give one side"),
        ("3+x=5", "has no value"),
        ("1,00", "',' at character 2: a comma parts thousands"),
        ("1,0000", "a comma parts thousands"),
        ("5.", "'.' at character 2: a point needs a digit"),
        ("1e5", "no operator between '1' and 'e'"),
        ("３＋²", "'²' at character 3"),
        ("٣+1", "'٣' at character 1"),
        ("3+", "the expression ends where a number must follow"),
        ("3+*4", "a number is missing before '*' at character 3"),
        ("2××3", "a number is missing before '*'"),
        ("8//3", "a number is missing before '/'"),
        ("()", "a number is missing before ')'"),
        ("(1+2", "a bracket '(' is not closed"),
        ("1+2)", "the bracket ')' at character 4 closes none of its kind"),
        ("(1+2]", "the bracket ']' at character 5 closes none of its kind"),
        ("__import__('os')", "'_' at character 1"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "more than 100 brackets"),
        ("(" * 10**6 + "1" + ")" * 10**6, "has 2000001 characters; at most 10000 are read"),
        ("1+" * 10**6 + "1", "at most 10000 are read"),
        ("9" * (MAX_DIGITS + 1), "has more than 1000 digits"),
        ("1(" + "1" * 5000 + "/2)", "has more than 1000 digits"),
    ],
)
def test_what_is_refused_is_told_in_one_kind_of_error(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)) as caught:
        evaluate(text)
    assert len(str(caught.value)) < 250, "a long text is quoted in full"


@pytest.mark.parametrize("given", [None, 3, b"3", ["3"]])
def test_no_text_is_a_type_error(given: object) -> None:
    with pytest.raises(TypeError, match="an expression must be a text; this is a"):
        evaluate(given)  # type: ignore[arg-type]


def test_what_is_allowed_at_the_limits_has_a_value() -> None:
    assert evaluate("(" * MAX_DEPTH + "7" + ")" * MAX_DEPTH) == 7
    assert evaluate("1" + "+(1)" * 1000) == 1001, "brackets beside one another have no depth"
    assert evaluate(f"1**{MAX_EXPONENT}") == 1
    assert evaluate("9" * MAX_DIGITS) == 10**MAX_DIGITS - 1
    assert evaluate("1" + "-1" * (MAX_CHARACTERS // 2 - 1)) == 2 - MAX_CHARACTERS // 2
    assert evaluate("-" * (MAX_CHARACTERS - 1) + "1") == -1
    assert evaluate("1" + "**1" * 3000) == 1


def test_sums_of_growing_denominators_are_stopped() -> None:
    with pytest.raises(ExpressionError, match="a result has more than 1000 digits"):
        evaluate("+".join(f"1/{number}" for number in range(1000003, 1000803, 2)))


@given(st.text(alphabet="0123456789+-*/().%^:,x= 又分之[]{}×．：（）", max_size=30))
def test_any_text_has_a_value_or_one_kind_of_error(text: str) -> None:
    with suppress(ExpressionError):
        assert isinstance(evaluate(text), Fraction)


def test_unknowns_have_the_values_that_are_given() -> None:
    assert evaluate("(x+1)*y", {"x": 2, "y": Fraction(1, 3)}) == 1
    with pytest.raises(ExpressionError, match="'z' at character 3 has no value"):
        evaluate("x+z", {"x": 1})


def test_postfix_steps_have_binary_operators_only() -> None:
    assert to_postfix("-2**2+1(1/2)*5%") == "0 2 2 ** - 1 1 2 / + 5 100 / * +".split()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "'': it is empty"),
        (["1", "+"], "'1 +': the operator '+' has fewer than two numbers before it"),
        (["1", "2"], "2 numbers are left, with no operator"),
        (["1", "two", "+"], "'two' is neither a number nor one of + - * / **"),
        (["1", "2.", "+"], "'2.' is neither a number"),
        (["1", "-3", "+"], "'-3' is neither a number"),
        (["9" * 1001], "a number has more than 1000 digits"),
    ],
)
def test_steps_that_are_no_expression(steps: list[str], message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)):
        evaluate_postfix(steps)
