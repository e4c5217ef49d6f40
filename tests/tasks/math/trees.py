"""Random arithmetic: a text and, beside it, the value that Python's fractions give while the text is put together."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from hypothesis import strategies as st


class Arithmetic(NamedTuple):
    """An expression in brackets or of one number, its value (none where it divides by 0), and the same for sympy."""

    text: str
    value: Fraction | None
    plain: str


def _whole(number: int) -> Arithmetic:
    return Arithmetic(str(number), Fraction(number), str(number))


def _decimal(number: int, places: int) -> Arithmetic:
    text = f"{number // 10**places}.{number % 10**places:0{places}d}"
    return Arithmetic(text, Fraction(number, 10**places), text)


def _mixed(whole: int, top: int, more: int) -> Arithmetic:
    bottom = top + more
    value = whole + Fraction(top, bottom)
    return Arithmetic(f"{whole}({top}/{bottom})", value, f"({whole}+{top}/{bottom})")


LEAVES = st.one_of(
    st.integers(0, 5000).map(_whole),
    st.builds(_decimal, st.integers(0, 9999), st.integers(1, 3)),
    st.builds(_mixed, st.integers(0, 30), st.integers(0, 30), st.integers(1, 30)),
)


def _percent(inner: Arithmetic) -> Arithmetic:
    value = None if inner.value is None else inner.value / 100
    return Arithmetic(f"({inner.text}%)", value, f"(({inner.plain})/100)")


def _negative(inner: Arithmetic) -> Arithmetic:
    value = None if inner.value is None else -inner.value
    return Arithmetic(f"(-{inner.text})", value, f"(-{inner.plain})")


def _power(inner: Arithmetic, exponent: int) -> Arithmetic:
    value = None if inner.value is None or (inner.value == 0 and exponent < 0) else Fraction(inner.value**exponent)
    return Arithmetic(f"({inner.text}**{exponent})", value, f"({inner.plain}**({exponent}))")


def _pair(left: Arithmetic, right: Arithmetic, operator: str, brackets: str) -> Arithmetic:
    plain = f"({left.plain}{operator}{right.plain})"
    text = f"{brackets[0]}{left.text} {operator}{right.text}{brackets[1]}"
    if left.value is None or right.value is None or (operator == "/" and right.value == 0):
        return Arithmetic(text, None, plain)
    values = {"+": left.value + right.value, "-": left.value - right.value, "*": left.value * right.value}
    return Arithmetic(text, values[operator] if operator in values else left.value / right.value, plain)


ARITHMETIC = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_pair, inner, inner, st.sampled_from("+-*/"), st.sampled_from(["()", "[]", "{}"])),
        inner.map(_percent),
        inner.map(_negative),
        st.builds(_power, inner, st.integers(-3, 3)),
    ),
    max_leaves=8,
)

#: Without brackets, so that precedence alone decides; Python and sympy read them as they stand.
FLAT = st.lists(
    st.tuples(st.sampled_from(["+", "-", "*", "/", "**"]), st.sampled_from(["", "-", "+", "--"]), st.integers(1, 3)),
    min_size=1,
    max_size=6,
).map(lambda parts: "2" + "".join(f"{operator}{sign}{number}" for operator, sign, number in parts))
