"""Is a difference between two methods more than luck? Paired over splits, with what few splits can say.

Methods are compared on the same splits, because splits differ more than methods do. With five splits no test says
much; each of these says how much it can.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedT:
    """Outcome of a paired t-test.

    Args:
        t: mean difference over its standard error; infinite if all differences are equal and not 0.
        degrees: pairs less one.
        p: two-sided.
    """

    t: float
    degrees: int
    p: float


@dataclass(frozen=True)
class SignFlip:
    """Outcome of an exact sign-flip test.

    Args:
        p: two-sided.
        resolution: the smallest p there can be with so many pairs: 2 of ``2 ** pairs`` sign patterns, 0.0625 for five.
    """

    p: float
    resolution: float


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Args:
        low: its lower end.
        high: its upper end.
        level: its nominal level, e.g. 0.95.
    """

    low: float
    high: float
    level: float


def paired_t(first: Sequence[float], second: Sequence[float]) -> PairedT:
    """Student's t-test on the differences of pairs.

    Args:
        first: a score a split of one method.
        second: those of the other method, in the same order.

    Returns:
        The statistic and its two-sided p.

    Raises:
        ValueError: not as many scores, or fewer than two.

    Note:
        It takes the differences for independent and normal. FewCLUE's splits share examples and one test set, so that
        p is rather too small.

    Example:
        >>> found = paired_t([3.0, 4.0, 5.0], [1.0, 3.0, 2.0])  # differences 2, 1, 3: t = 2 / (1 / sqrt 3)
        >>> round(found.t, 4), found.degrees, round(found.p, 4)
        (3.4641, 2, 0.0742)
    """
    differences = _differences(first, second)
    degrees = len(differences) - 1
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    if deviation == 0:
        return PairedT(math.copysign(math.inf, mean) if mean else 0.0, degrees, 0.0 if mean else 1.0)
    t = mean / (deviation / math.sqrt(len(differences)))
    return PairedT(t, degrees, student_t_two_sided(t, degrees))


def student_t_two_sided(t: float, degrees: int) -> float:
    """The probability that Student's t lies as far from 0 as a value.

    Source: the finite series for whole degrees of freedom, Abramowitz and Stegun, 26.7.3 and 26.7.4.

    Args:
        t: the value.
        degrees: degrees of freedom, at least 1.

    Returns:
        The probability; below about 1e-15 it is 0.

    Raises:
        ValueError: ``degrees`` is below 1.

    Example:
        >>> student_t_two_sided(1.0, 1)  # Cauchy's distribution: half of it lies within 1 of 0
        0.5
    """
    if degrees < 1:
        raise ValueError(f"degrees of freedom are {degrees}; there must be at least 1")
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for step in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    inside = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside))


def sign_flip(first: Sequence[float], second: Sequence[float]) -> SignFlip:
    """The exact permutation test of pairs: how many sign patterns of the differences have so large a mean?

    Args:
        first: a score a split of one method.
        second: those of the other method, in the same order.

    Returns:
        The two-sided p, and the smallest one possible. With five pairs that is 1/16, so no result is significant at
        5 %, however large the difference.

    Raises:
        ValueError: not as many scores, fewer than two, or more than 20 (a million patterns).

    Example:
        >>> sign_flip([3.0, 4.0, 5.0], [1.0, 3.0, 2.0])  # only +++ and --- of 8 patterns
        SignFlip(p=0.25, resolution=0.25)
    """
    differences = _differences(first, second)
    if len(differences) > 20:
        raise ValueError(f"{len(differences)} pairs have too many sign patterns; average the seeds of a split first")
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(sum(differences))
    # Sums that are equal on paper may differ in their last digits.
    tolerance = 1e-9 * sum(map(abs, differences))
    return SignFlip(float(np.mean(np.abs(sums) >= observed - tolerance)), 2.0 ** (1 - len(differences)))


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a mean.

    Args:
        values: e.g. a score a split, or a difference a split; at least two.
        level: nominal level, between 0 and 1.
        resamples: draws with replacement; if all possible ones are no more than that (up to five values with the
            default), each is taken once and nothing is random.
        seed: of the draws.

    Returns:
        The interval.

    Raises:
        ValueError: fewer than two values, or a level out of range.

    Note:
        With few values the interval is too narrow: of five normal values, the nominal 95 % are about 84 %.

    Example:
        >>> bootstrap_interval([1.0, 2.0, 3.0], level=0.8)
        Interval(low=1.3333333333333333, high=2.6666666666666665, level=0.8)
    """
    if len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"{len(values)} values, level {level}; give at least two, and a level between 0 and 1")
    array, count = np.asarray(values, dtype=float), len(values)
    if count**count <= resamples:
        draws = np.stack(np.meshgrid(*[np.arange(count)] * count), axis=-1).reshape(-1, count)
    else:
        draws = np.random.default_rng(seed).integers(count, size=(resamples, count))
    low, high = np.quantile(array[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"{len(first)} and {len(second)} scores; pairs need as many of both, and at least two")
    return [one - other for one, other in zip(first, second, strict=True)]
