"""Is a difference between two methods more than luck? Paired over splits or seeds, with what few of them can say.

Methods are compared on the same splits, because splits differ more than methods do. With five splits no test says
much; each of these says how much it can.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpkit.extras import install_hint


class SignFlip(NamedTuple):
    """Outcome of an exact sign-flip test.

    Args:
        p: two-sided.
        resolution: the smallest p there can be with so many pairs: 2 of ``2 ** pairs`` sign patterns, 0.0625 for five.
    """

    p: float
    resolution: float


def paired_t(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of Student's t-test on the differences of pairs.

    Args:
        first: the scores of one method, one per split.
        second: those of the other method, in the same order.

    Returns:
        The probability; equal differences have 0, or 1 where they are 0.

    Raises:
        ValueError: not as many scores, or fewer than two.
        ImportError: scipy is not installed.

    Note:
        It takes the differences for independent and normal. FewCLUE's splits share examples and one test set, so that
        p is rather too small.

    Example:
        >>> round(paired_t([3.0, 4.0, 5.0], [1.0, 3.0, 2.0]), 4)  # differences 2, 1, 3: t = 2 / (1 / sqrt 3)
        0.0742
    """
    differences = _differences(first, second)
    if np.ptp(differences) == 0:
        return float(differences[0] == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of differences that differ in their last digits only
        return float(_scipy_stats().ttest_rel(first, second).pvalue)


def t_interval(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's confidence interval of the mean difference of pairs; it holds 0 where ``paired_t`` is above 1 - level.

    Args:
        first: the scores of one method, one per split.
        second: those of the other method, in the same order.
        level: of confidence, between 0 and 1.

    Returns:
        Its lower and its upper end.

    Raises:
        ValueError: not as many scores, fewer than two, or a level out of range.
        ImportError: scipy is not installed.

    Note:
        As ``paired_t``, it takes the differences for independent and normal.

    Example:
        >>> low, high = t_interval([3.0, 4.0, 5.0], [1.0, 3.0, 2.0])  # 2 +- 4.303 / sqrt 3
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    differences = _differences(first, second)
    if not 0 < level < 1:
        raise ValueError(f"level {level} must be between 0 and 1")
    half = _scipy_stats().t.ppf((1 + level) / 2, len(differences) - 1)
    half *= differences.std(ddof=1) / len(differences) ** 0.5
    return float(differences.mean() - half), float(differences.mean() + half)


def sign_flip(first: Sequence[float], second: Sequence[float]) -> SignFlip:
    """The exact permutation test of pairs: how many sign patterns of the differences have so large a mean?

    Args:
        first: the scores of one method, one per split.
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
    # Not scipy's: its tolerance is relative to the observed mean, and it takes 18 s for 20 pairs.
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    tolerance = 1e-9 * np.abs(differences).sum()  # sums that are equal on paper differ in their last digits
    p = np.mean(np.abs(sums) >= abs(differences.sum()) - tolerance)
    return SignFlip(float(p), 2.0 ** (1 - len(differences)))


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean.

    Args:
        values: e.g. a score or a difference per split; at least two.
        level: nominal level, between 0 and 1.
        resamples: draws with replacement.
        seed: of the draws.

    Returns:
        Its lower and its upper end.

    Raises:
        ValueError: fewer than two values, or a level out of range.
        ImportError: scipy is not installed.

    Note:
        With few values the interval is too narrow: of five normal values, the nominal 95 % are about 84 %.

    Example:
        >>> low, high = bootstrap_interval([1.0, 2.0, 3.0], level=0.8)
        >>> round(low, 2), round(high, 2)
        (1.33, 2.67)
    """
    if len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"{len(values)} values, level {level}; give at least two, and a level between 0 and 1")
    found = _scipy_stats().bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _differences(first: Sequence[float], second: Sequence[float]) -> NDArray[np.float64]:
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"{len(first)} and {len(second)} scores; pairs need as many of both, and at least two")
    return np.subtract(first, second, dtype=np.float64)


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError(f"tests of differences need scipy; {install_hint('eval')}", name="scipy") from error
    return stats
