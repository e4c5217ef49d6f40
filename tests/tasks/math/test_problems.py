"""Numbers in problems are spelled as in equations; everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpkit.tasks.math import ExpressionError, evaluate, normalise_equation, normalise_problem
from tests.tasks.math.trees import ARITHMETIC, Arithmetic

SPELLINGS = [
    ("降价２０％后", "降价20/100后"),
    ("降价4.68%。", "降价4.68/100。"),
    ("用了5(1/2)h，", "用了(5+1/2)h，"),
    ("用了５（１／２）小时", "用了(5+1/2)小时"),
    ("长2((1)/(3))米", "长(2+1/3)米"),
    ("长1又1/2米，宽2又3分之1米", "长(1+1/2)米，宽(2+1/3)米"),
    ("平均数是8又(1/2)，", "平均数是(8+1/2)，"),
    ("37.5%%，", "37.5%%，"),
    ("3班3(20%)，20%3", "3班3(20%)，20%3"),
    ("1÷20%，3：20%，1/ -20%", "1/(20/100)，3:(20/100)，1/ -(20/100)"),
    ("2%x=40，5%^2，2^5%", "2%x=40，5%^2，2^(5/100)"),
    ("40*20%+1", "40*20/100+1"),
    ("(2/3)：6和35：(1/35)", "(2/3):6和35:(1/35)"),
    ("多20%．1.5小时后", "多20/100。1.5小时后"),
    ("吃了(1/2)．3天后", "吃了1/2。3天后"),
    ("截去它的(1/3)又(1/3)米", "截去它的1/3又1/3米"),
    ("截去1/3又1/3米", "截去1/3又1/3米"),
    ("截去3分之1又3分之1米", "截去3分之1又3分之1米"),
    ("占全书的(3/5)，", "占全书的3/5，"),
    ("占((3)/(5))。", "占3/5。"),
    ("8/(1/5)=多少", "8/(1/5)=多少"),
    ("8/  (1/5)", "8/  (1/5)"),
    ("16  /  22%", "16  /  (22/100)"),
    ("8/       20%，2 ^ \t 50%", "8/       (20/100)，2 ^ \t (50/100)"),
    ("（(7/3)），(（7/3） )", "7/3，7/3"),
    ("(（ ((7/3)) ）)", "7/3"),
    ("（(1/2)的人）", "（1/2的人）"),
    ("(1/5)（1/5）", "(1/5)（1/5）"),
    ("(1/3),(100/3)和1,(200/3)", "1/3,(100/3)和1,(200/3)"),
    ("长1又((1)/(3))米", "长(1+1/3)米"),
    ("3  (20%)，3又 (20%)", "3  (20%)，3又 (20%)"),
    ("增长20%,50%和20%,500%", "增长20/100,50/100和20%,500/100"),
    ("(1/5)x+15=60", "(1/5)x+15=60"),
    ("(1/5)*3", "(1/5)*3"),
    ("2*(1/5)", "2*(1/5)"),
    ("3(5/4)米", "3(5/4)米"),
    ("比是１：１５，", "比是1:15，"),
    ("早上8：50，", "早上8:50，"),
    ("注意：3个", "注意：3个"),
    ("共1,200,500元", "共1200500元"),
    ("1，200和3,50", "1，200和3,50"),
    ("6566,998*667", "6566,998*667"),
    ("0,500", "0,500"),
    ("０．５米，乙是3．", "0.5米，乙是3．"),
    ("70㎡、30kg、5℃、3m²", "70㎡、30kg、5℃、3m²"),
    ("（写分数）", "（写分数）"),
    ("３×４÷２－１＝？", "3*4/2-1=？"),
    ("x%的", "x%的"),
]


@pytest.mark.parametrize(("text", "normal"), SPELLINGS)
def test_spellings(text: str, normal: str) -> None:
    assert normalise_problem(text) == normal


@pytest.mark.parametrize("normal", [normal for _, normal in SPELLINGS])
def test_a_second_call_changes_nothing(normal: str) -> None:
    assert normalise_problem(normal) == normal


PIECES = st.sampled_from(
    ["1", "2", "300", "(", ")", "（", "）", "+", "-", "*", "/", "**", "^", ":", "%", "  ", "\t", "\u3000 \n", ".", ",",
     "又", "(1/5)", "（1/5）", "((1)/(3))", "1(1/2)", "20%", "(100/3)", "200%"]
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=9).map("".join))
def test_whatever_stands_between_values_are_kept_and_a_second_call_changes_nothing(text: str) -> None:
    normal = normalise_problem(text)
    assert normalise_problem(normal) == normal
    try:
        value = evaluate(text)
    except ExpressionError:
        return
    assert evaluate(normal) == value


@given(ARITHMETIC.filter(lambda expression: expression.value is not None), st.sampled_from(["", "计算：", "．"]))
def test_arithmetic_in_a_problem_keeps_its_value(expression: Arithmetic, before: str) -> None:
    found = normalise_problem(f"{before}{expression.text}，得多少．").removeprefix(before)
    assert evaluate(found.removesuffix("，得多少．")) == expression.value


OTHER_SIGNS = st.characters(exclude_categories=["Nd", "Sm", "Cs"], exclude_characters="%％*＊/／－^＾．：∶")


@given(st.text(alphabet=OTHER_SIGNS, max_size=20))
def test_texts_without_numbers_stay(text: str) -> None:
    assert normalise_problem(text) == text


@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 20), st.integers(0, 999))
def test_a_number_of_a_problem_stands_in_its_equation(whole: int, top: int, more: int, percent: int) -> None:
    mixed = f"{whole}({top}/{top + more})"
    assert normalise_problem(f"甲是{mixed}，") == f"甲是({normalise_equation(mixed)})，"
    assert normalise_problem(f"甲是{percent}%，") == f"甲是{normalise_equation(f'{percent}%')}，"


PARTS_OF_NUMBERS = ["1", "(", "1 ", "1(", "1(1", "(1/2", "1,000", "1又", "1%", " ", "( ", "（", "(1/2) ", "1% "]


@pytest.mark.parametrize("piece", PARTS_OF_NUMBERS)
def test_long_runs_of_one_piece_come_to_an_end(piece: str) -> None:
    """A step per pair of characters would take hours."""
    assert normalise_problem(piece * 300_000)


def test_numbers_too_long_for_python_stay() -> None:
    long = "1" * 5000
    for text in (f"1({long}/{long}2)", f"1又{long}/{long}2", f"1又{long}分之{long}", f"({long}/2)米"):
        assert normalise_problem(text) == text


def test_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a problem must be a text; this is a NoneType"):
        normalise_problem(None)  # type: ignore[arg-type]
