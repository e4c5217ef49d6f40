"""Tests of differences, against values from a book, slow oracles, and scipy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.fewshot.report.significance import bootstrap_interval, paired_t, sign_flip, student_t_two_sided
from tests.reference.paired_tests import sign_flip_by_listing, two_sided_by_integration

scores = st.integers(0, 40).map(lambda count: count / 40)
pairs = st.lists(st.tuples(scores, scores), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("degrees", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042)]
)
def test_critical_values_of_the_tables_at_five_percent(degrees: int, t: float) -> None:
    # The tables round t to three decimals, which moves p by no more than this.
    assert student_t_two_sided(t, degrees) == pytest.approx(0.05, abs=5e-5)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 19])
@pytest.mark.parametrize("t", [0.0, 0.3, -1.5, 6.0])
def test_probability_is_the_integral_of_the_density(degrees: int, t: float) -> None:
    assert student_t_two_sided(t, degrees) == pytest.approx(two_sided_by_integration(t, degrees), abs=1e-10)


@given(pairs)
def test_paired_t_is_that_of_scipy(found: list[tuple[float, float]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = map(list, zip(*found, strict=True))
    differences = np.subtract(first, second)
    if np.ptp(differences) < 1e-9:
        return
    expected = stats.ttest_rel(first, second)
    ours = paired_t(first, second)
    assert ours.t == pytest.approx(expected.statistic)
    assert ours.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert ours.degrees == len(first) - 1


def test_equal_differences_are_no_division_by_zero() -> None:
    assert paired_t([0.5, 0.75], [0.5, 0.75]).p == 1.0
    assert paired_t([0.5, 0.75], [0.25, 0.5]) == (type(paired_t([1, 2], [0, 0])))(math.inf, 1, 0.0)


@given(pairs)
def test_sign_flip_is_that_of_listing_every_pattern(found: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*found, strict=True))
    ours = sign_flip(first, second)
    assert ours.p == sign_flip_by_listing([one - other for one, other in found])
    assert ours.p >= ours.resolution == 2 / 2 ** len(found)
    assert sign_flip(second, first) == ours


def test_five_splits_cannot_be_significant_at_five_percent() -> None:
    assert sign_flip([0.9] * 5, [0.1, 0.2, 0.3, 0.2, 0.1]).p == sign_flip([1] * 5, [0] * 5).resolution == 0.0625


def test_bootstrap_of_few_values_takes_every_resample_once() -> None:
    values = [0.5, 0.25, 1.0, 0.125]
    means = [sum(drawn) / 4 for drawn in product(values, repeat=4)]
    interval = bootstrap_interval(values, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((np.quantile(means, 0.05), np.quantile(means, 0.95)))


def test_bootstrap_of_many_values_is_near_the_normal_interval_and_repeatable() -> None:
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    assert bootstrap_interval(values) == interval


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_t([1.0], [2.0]), "1 and 1 scores; pairs need as many of both, and at least two"),
        (lambda: sign_flip([1.0, 2.0], [2.0]), "2 and 1 scores"),
        (lambda: sign_flip([1.0] * 21, [2.0] * 21), "21 pairs have too many sign patterns; average the seeds"),
        (lambda: bootstrap_interval([1.0]), "1 values, level 0.95; give at least two"),
        (lambda: bootstrap_interval([1.0, 2.0], level=95), "2 values, level 95"),
        (lambda: student_t_two_sided(1.0, 0), "degrees of freedom are 0; there must be at least 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
