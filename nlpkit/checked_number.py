"""Numbers that a user gives, such as strengths and rates, looked at before anything is made of them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeVar

Number = TypeVar("Number", bound=float)


def checked_number(
    name: str,
    given: Number,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
    hint: str = "",
) -> Number:
    """A finite number within its range, as it was given.

    Args:
        name: of the argument.
        given: what it was.
        least: the smallest number that may be.
        above: the number that it must exceed.
        most: the largest number that may be.
        below: the number that it must not reach.
        whole: only integers may be.
        hint: what else to say, behind the range.

    Returns:
        ``given``.

    Raises:
        TypeError: it is no number; a truth value is none, and a fraction is none where it must be whole.
        ValueError: it is NaN, infinite or out of its range.

    Example:
        >>> checked_number("momentum", 0.9, least=0, below=1)
        0.9
        >>> checked_number("temperature", float("nan"), above=0, hint="cosines are divided by it")
        Traceback (most recent call last):
        ValueError: temperature=nan: give a finite number above 0; cosines are divided by it
    """
    kind: type = Integral if whole else Real  # among which are NumPy's own
    if isinstance(given, bool) or not isinstance(given, kind):
        raise TypeError(_wanted(name, given, least, above, most, below, whole, hint))
    inside = (
        -float("inf") < given < float("inf")  # false for NaN
        and (least is None or given >= least)
        and (above is None or given > above)
        and (most is None or given <= most)
        and (below is None or given < below)
    )
    if not inside:
        raise ValueError(_wanted(name, given, least, above, most, below, whole, hint))
    return given


def checked_seed(given: int) -> int:
    """A seed that NumPy and PyTorch take, as it was given.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 0, or has more than 32 bits.

    Example:
        >>> checked_seed(0)
        0
        >>> checked_seed(-1)
        Traceback (most recent call last):
        ValueError: seed=-1: give a whole number at least 0 and at most 4294967295
    """
    return checked_number("seed", given, least=0, most=2**32 - 1, whole=True)


def _wanted(
    name: str,
    given: object,
    least: float | None,
    above: float | None,
    most: float | None,
    below: float | None,
    whole: bool,
    hint: str,
) -> str:
    bounds = (("at least", least), ("above", above), ("at most", most), ("below", below))
    range_ = " and ".join(f"{side} {bound}" for side, bound in bounds if bound is not None)
    kind = "a whole number" if whole else "a finite number"
    return f"{name}={given!r}: give " + kind + (f" {range_}" if range_ else "") + (f"; {hint}" if hint else "")
