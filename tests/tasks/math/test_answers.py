"""When a value is the answer, and how many of a set are."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.tasks.math import TOLERANCE, ExpressionError, evaluate, same_answer, satisfies, score_answers


@pytest.mark.parametrize(
    ("found", "gold", "same"),
    [
        ("x=36/6+3", "9", True),
        ("7/2", "3(1/2)", True),
        ("7/2", "((7)/(2))", True),
        ("15/(15+1)", "93.75%", True),
        ("15/(15+1)*100%", "93.75%", True),
        ("72", "72%", False),
        ("1/3", "0.333333", True),
        ("1/3", "0.33", False),
        ("0.333333", "1/3", False),
        (1 / 3, "1/3", True),
        (0.3334, "1/3", False),
        ("50001", "50000", False),
        ("50001.0", "50000", False),
        ("50001", "50000.0", True),
        ("1000001/1000000", 1, False),
        (Fraction(1, 3), 1 / 3, True),
        (0.1 + 0.2, "3/10", True),
        (0.1 + 0.2, "0", False),
        ("0.00001", 0.0, False),
        (-5, "5", False),
        ("１．００００１", "1．0", True),
    ],
)
def test_the_rule(found: str | float, gold: str | float, same: bool) -> None:
    assert same_answer(found, gold) is same


@given(st.fractions(), st.fractions())
def test_fractions_are_compared_exactly(first: Fraction, second: Fraction) -> None:
    assert same_answer(first, second) is (first == second)


@given(st.floats(1e-3, 1e6), st.floats(-2, 2))
def test_floats_are_compared_relative_to_the_answer(gold: float, part: float) -> None:
    found = gold * (1 + part * TOLERANCE)
    distance = abs(Fraction(found) - Fraction(gold)) / Fraction(gold)
    assert same_answer(found, gold) is (distance <= Fraction(TOLERANCE))


def test_the_tolerance_may_be_changed() -> None:
    assert not same_answer("1/3", "0.33")
    assert same_answer("1/3", "0.33", tolerance=0.02)
    assert not same_answer("1/3", "0.33333333", tolerance=0)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_out_of_range(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"tolerance=.*: give a finite number at least 0"):
        same_answer(1, 1, tolerance)


def test_what_is_no_value() -> None:
    with pytest.raises(ExpressionError, match="it divides by zero"):
        same_answer("1/0", "1")
    with pytest.raises(ExpressionError, match="gold is nan, which is no number"):
        same_answer("1", math.nan)
    with pytest.raises(TypeError, match="found must be a text or a number; it is a NoneType, 'None'"):
        same_answer(None, "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="gold must be a text or a number; it is a bool"):
        same_answer("1", True)


def test_scores_count_every_outcome() -> None:
    written = ["(70+6)/4", "1/0", "", "7 0 + 6", "76/4)", "x=80千米", "2**9**9**9"]
    scores = score_answers(written, ["19", "1", "1", "76", "19", "80", "3"])
    assert scores.outcomes == ("right", "broken", "broken", "right", "broken", "broken", "broken")
    assert (scores.right, scores.wrong, scores.broken) == (2, 0, 5)
    assert scores.accuracy == pytest.approx(2 / 7)


def test_scores_of_other_forms() -> None:
    assert score_answers(["/ + 70 6 4", "70 6 + 4 /"], ["19", "19"], form="prefix").outcomes == ("right", "broken")
    assert score_answers(["/ + 70 6 4", "70 6 + 4 /"], ["19", "19"], form="postfix").outcomes == ("broken", "right")


def test_scores_of_nothing_and_of_unreadable_answers() -> None:
    with pytest.raises(ValueError, match="0 equations and 0 answers; give as many of both, at least one"):
        score_answers([], [])
    with pytest.raises(ValueError, match="1 equations and 2 answers"):
        score_answers(["1"], ["1", "2"])
    with pytest.raises(ExpressionError, match="answer 1: '80千米': '千' at character 3"):
        score_answers(["1", "2"], ["1", "80千米"])
    with pytest.raises(ValueError, match="unknown form 'polish'"):
        score_answers(["1"], ["1"], form="polish")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [np.int64(3), np.float32(3), Decimal("3.0"), Fraction(3)])
def test_numbers_of_every_kind_are_answers(number: Any) -> None:
    assert same_answer(number, "3") and same_answer("3", number) and not same_answer("4", number)
    assert evaluate("x*2", {"x": number}) == 6 and satisfies("x=3", [number])


def test_rounded_numbers_of_every_kind_have_a_tolerance() -> None:
    assert same_answer("1/3", np.float32(1 / 3)) and same_answer("1/3", Decimal("0.33333"))
    assert same_answer(np.float32(1 / 3), "1/3") and not same_answer(np.int64(50001), "50000")


def test_one_text_is_no_list_and_nothing_is_no_equation() -> None:
    with pytest.raises(TypeError, match=r"equations is one text, '11'; give a list of them"):
        score_answers("11", ["1", "1"])
    with pytest.raises(TypeError, match=r"gold is one text, '11'; give a list of answers"):
        score_answers(["1", "1"], "11")
    with pytest.raises(TypeError, match=r"answers is one text, '1'; give a list of numbers"):
        satisfies("x=1", "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"an equation must be a text; this is a NoneType, None"):
        score_answers([None], ["1"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"a system must be a text; this is a NoneType, None"):
        satisfies(None, [1])  # type: ignore[arg-type]


def test_what_is_no_number_is_no_value_of_an_unknown() -> None:
    with pytest.raises(ExpressionError, match=r"'x': x is nan, which is no number"):
        evaluate("x", {"x": math.nan})
    with pytest.raises(TypeError, match=r"x must be a number; it is a str, '1'"):
        evaluate("x", {"x": "1"})  # type: ignore[dict-item]
    with pytest.raises(ExpressionError, match=r"answer 0 is inf, which is no number"):
        satisfies("x=1", [math.inf])
    with pytest.raises(TypeError, match=r"answer 1 must be a number; it is a bool, 'True'"):
        satisfies("x=1", [1, True])
