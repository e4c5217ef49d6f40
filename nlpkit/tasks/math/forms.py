"""Equations written for a model to generate: infix without needless brackets, prefix and postfix, and back.

Many texts mean one equation (``x=180/(1/6)``, ``180÷(1/6)``, ``(180)/((1/6))``), and every one that a model has not
seen counts as an error of its loss. The canonical infix form has one spelling of numbers, the same as
``normalise_problem`` gives to those of the problem, so that they can be copied, and no needless bracket. Prefix and
postfix forms need no brackets at all, so that none can be left open; they are longer in tokens for most tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, TypeVar, get_args

from nlpkit.tasks.math.errors import ExpressionError
from nlpkit.tasks.math.expressions import MAX_DEPTH, OPERATORS, to_postfix
from nlpkit.tasks.math.scanning import MAX_CHARACTERS, shorten

Form = Literal["infix", "prefix", "postfix"]
FORMS: tuple[Form, ...] = get_args(Form)

Item = TypeVar("Item")

_ATOM = 4
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}
#: What may stand to the right of an operator without brackets, for the same value: a+(b-c) is a+b-c, a-(b-c) is not.
_RIGHT_BINDS = {"+": 1, "-": 2, "*": 2, "/": 3, "**": 3}
_LEFT_BINDS = {**_BINDS, "**": _ATOM}


class _Written(NamedTuple):
    text: str
    binds: int


def normalise_equation(text: str) -> str:
    """An equation in its canonical infix form.

    Args:
        text: what ``evaluate`` reads.

    Returns:
        The side behind ``x=`` with ``+ - * / **``, round brackets where the value needs them, percent as ``20/100``,
        mixed fractions as ``1+1/2``, numbers without separators of thousands, and ``0-`` for a minus with nothing
        before it. Its value is the same, and so is its own canonical form.

    Raises:
        ExpressionError: it is no expression, or its canonical form is longer than what is read, or deeper.

    Example:
        >>> normalise_equation("x=40/[1-(80%)]"), normalise_equation("2*(3*(1(1/2)))-(-1)")
        ('40/(1-80/100)', '2*3*(1+1/2)-(0-1)')
    """
    return _as_read(to_infix(to_postfix(text)))


def to_infix(steps: Sequence[str]) -> str:
    """Steps in postfix order as infix text with no needless bracket.

    Args:
        steps: as ``to_postfix`` gives them.

    Raises:
        ExpressionError: the steps are no expression.

    Example:
        >>> to_infix(["8", "2", "1", "-", "-", "3", "+"])
        '8-(2-1)+3'
    """
    stack: list[_Written] = []
    for step in steps:
        if step not in OPERATORS:
            stack.append(_Written(step, _ATOM))
            continue
        right, left = _pop_two(stack, step)
        parts = _bracketed(left, _LEFT_BINDS[step]), _bracketed(right, _RIGHT_BINDS[step])
        stack.append(_Written(step.join(parts), _BINDS[step]))
    return _only(stack).text


def write_equation(text: str, form: Form = "infix") -> str:
    """An equation as a target text.

    Args:
        text: what ``evaluate`` reads.
        form: ``infix`` is ``normalise_equation``; the others part their tokens by spaces.

    Returns:
        The text; ``read_equation`` undoes it.

    Raises:
        ExpressionError: it is no expression, or in that form it is longer than what is read, or deeper.
        ValueError: there is no such form.

    Example:
        >>> [write_equation("x=(70+6)/(3+1)", form) for form in FORMS]
        ['(70+6)/(3+1)', '/ + 70 6 + 3 1', '70 6 + 3 1 + /']
    """
    _check(form)
    steps = to_postfix(text)
    if form == "infix":
        return _as_read(to_infix(steps))
    return _as_read(" ".join(steps if form == "postfix" else _to_prefix(steps)))


def read_equation(text: str, form: Form = "infix") -> list[str]:
    """The steps of an equation that a model has written, in postfix order, for ``evaluate_postfix``.

    Args:
        text: in the form. Tokenizers part digits and signs as they like, so spaces count in no infix text.
        form: of the text.

    Raises:
        ExpressionError: it is too long, or no expression. Of postfix texts, only ``evaluate_postfix`` sees that.
        TypeError: it is no text.
        ValueError: there is no such form.

    Example:
        >>> read_equation("( 7 0 + 6 ) / 4"), read_equation("/ + 70 6 4", "prefix")
        (['70', '6', '+', '4', '/'], ['70', '6', '+', '4', '/'])
    """
    _check(form)
    if not isinstance(text, str):
        raise TypeError(f"an equation must be a text; this is a {type(text).__name__}, {text!r}")
    if form == "infix":
        return to_postfix("".join(text.split()))
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"{shorten(text)} has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    tokens = text.split()
    return tokens if form == "postfix" else _from_prefix(tokens)


def _to_prefix(steps: Sequence[str]) -> list[str]:
    stack: list[list[str]] = []
    for step in steps:
        if step in OPERATORS:
            right, left = _pop_two(stack, step)
            stack.append([step, *left, *right])
        else:
            stack.append([step])
    return _only(stack)


def _from_prefix(tokens: Sequence[str]) -> list[str]:
    stack: list[list[str]] = []
    for token in reversed(tokens):
        if token in OPERATORS:
            left, right = _pop_two(stack, token)
            stack.append([*left, *right, token])
        else:
            stack.append([token])
    return _only(stack)


def _pop_two(stack: list[Item], operator: str) -> tuple[Item, Item]:
    if len(stack) < 2:
        raise ExpressionError(f"the operator {operator!r} has fewer than two numbers")
    return stack.pop(), stack.pop()


def _only(stack: list[Item]) -> Item:
    if len(stack) != 1:
        raise ExpressionError("it is empty" if not stack else f"{len(stack)} numbers are left, with no operator")
    return stack[0]


def _bracketed(part: _Written, least: int) -> str:
    return part.text if part.binds >= least else f"({part.text})"


def _as_read(written: str) -> str:
    """A written form, if ``read_equation`` takes it: percent, mixed fractions and signs are longer written out."""
    depth = max(accumulate(1 if sign == "(" else -1 for sign in re.findall("[()]", written)), default=0)
    if len(written) > MAX_CHARACTERS or depth > MAX_DEPTH:
        raise ExpressionError(
            f"{shorten(written)}: written out it has {len(written)} characters and {depth} brackets inside one "
            f"another; at most {MAX_CHARACTERS} and {MAX_DEPTH} are read"
        )
    return written


def _check(form: str) -> None:
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; use {', '.join(FORMS)}")
