"""Canonical equations keep their values, need all their brackets, and come back from every form."""

from __future__ import annotations

import pytest
from hypothesis import given

from nlpkit.tasks.math import (
    FORMS,
    ExpressionError,
    Form,
    evaluate,
    evaluate_postfix,
    normalise_equation,
    read_equation,
    to_infix,
    to_postfix,
    write_equation,
)
from tests.tasks.math.trees import ARITHMETIC, Arithmetic


@given(ARITHMETIC.filter(lambda expression: expression.value is not None))
def test_every_form_keeps_the_value(expression: Arithmetic) -> None:
    for form in FORMS:
        written = write_equation(expression.text, form)
        assert evaluate_postfix(read_equation(written, form)) == expression.value
        if form != "infix":
            assert "(" not in written


@given(ARITHMETIC)
def test_a_canonical_equation_is_its_own(expression: Arithmetic) -> None:
    once = normalise_equation(expression.text)
    assert normalise_equation(once) == once
    assert len(once) <= len(to_infix(["0", "1", "+"])) + 3 * len(expression.text)


@given(ARITHMETIC.filter(lambda expression: expression.value is not None))
def test_without_any_pair_of_brackets_another_tree_is_read(expression: Arithmetic) -> None:
    """Needless brackets are those whose removal leaves the canonical form as it is."""
    text = normalise_equation(expression.text)
    opened = []
    for place, sign in enumerate(text):
        if sign == "(":
            opened.append(place)
        elif sign == ")":
            start = opened.pop()
            without = text[:start] + text[start + 1 : place] + text[place + 1 :]
            assert read_equation(without) != read_equation(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("x=(((70)+(6)))/((3+1))", "(70+6)/(3+1)"),
        ("1+(2-3)", "1+2-3"),
        ("1-(2-3)", "1-(2-3)"),
        ("1-(2+3)", "1-(2+3)"),
        ("4*(3/2)", "4*3/2"),
        ("4/(3*2)", "4/(3*2)"),
        ("(2**3)**2", "(2**3)**2"),
        ("2**(3**2)", "2**3**2"),
        ("(1+2)**2", "(1+2)**2"),
        ("２５％", "25/100"),
        ("1/25%", "1/(25/100)"),
        ("2×1又1/2", "2*(1+1/2)"),
        ("1,200:4", "1200/4"),
        ("x=-5", "0-5"),
    ],
)
def test_canonical_equations(text: str, canonical: str) -> None:
    assert normalise_equation(text) == canonical
    assert evaluate(canonical) == evaluate(text)


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("+ 1", "prefix", "the operator '\\+' has fewer than two numbers"),
        ("1 2", "prefix", "2 numbers are left"),
        ("", "prefix", "it is empty"),
        ("1 " * 6000, "postfix", "has 12000 characters"),
        ("(1+2", "infix", "is not closed"),
    ],
)
def test_texts_that_are_no_equation(text: str, form: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        read_equation(text, form)  # type: ignore[arg-type]


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(ValueError, match="unknown form 'polish'; use infix, prefix, postfix"):
        write_equation("1", "polish")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown form 'polish'"):
        read_equation("1", "polish")  # type: ignore[arg-type]


def test_spaces_within_a_generated_infix_equation_count_for_nothing() -> None:
    assert read_equation("( 7 0 + 6 ) / 4") == read_equation("(70+6)/4")


@pytest.mark.parametrize("text", ["+".join(["1%"] * 2000), "2**-" * 150 + "1"])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_can_be_read(text: str, form: Form) -> None:
    """Written out, percent and signs take more room than there is."""
    try:
        written = write_equation(text, form)
    except ExpressionError as error:
        assert "written out it has" in str(error)
    else:
        assert to_infix(read_equation(written, form)) == to_infix(to_postfix(text))


def test_what_is_no_text_is_no_equation() -> None:
    with pytest.raises(TypeError, match=r"an equation must be a text; this is a NoneType, None"):
        read_equation(None)  # type: ignore[arg-type]


def test_wide_letters_are_unknowns_and_a_zero_begins_no_thousands() -> None:
    assert evaluate("Ｙ＝3") == evaluate("ｘ＝3") == 3
    with pytest.raises(ExpressionError, match=r"a comma parts thousands"):
        evaluate("0,123")
