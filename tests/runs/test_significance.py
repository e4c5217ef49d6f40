"""Tests of differences, against values from a book and slow oracles."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.runs.significance import bootstrap_interval, paired_t, sign_flip, t_interval
from tests.reference.paired_tests import sign_flip_by_listing, two_sided_by_integration

scores = st.integers(0, 40).map(lambda count: count / 40)
pairs = st.lists(st.tuples(scores, scores), min_size=2, max_size=8)


@given(pairs)
def test_paired_t_is_the_integral_of_the_density(found: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*found, strict=True))
    differences = np.subtract(first, second)
    if np.ptp(differences) < 1e-9:
        return
    t = differences.mean() / (differences.std(ddof=1) / len(found) ** 0.5)
    assert paired_t(first, second) == pytest.approx(two_sided_by_integration(t, len(found) - 1), abs=1e-8)
    assert paired_t(second, first) == paired_t(first, second)


@given(pairs, st.floats(0.5, 0.99))
def test_the_interval_ends_where_the_test_has_its_level(found: list[tuple[float, float]], level: float) -> None:
    first, second = map(list, zip(*found, strict=True))
    differences = np.subtract(first, second)
    if np.ptp(differences) < 1e-9:
        assert t_interval(first, second, level) == pytest.approx([differences[0]] * 2, abs=1e-6)
        return
    deviation = differences.std(ddof=1) / len(found) ** 0.5
    for end in t_interval(first, second, level):
        t = (differences.mean() - end) / deviation
        assert two_sided_by_integration(t, len(found) - 1) == pytest.approx(1 - level, abs=1e-6)


def test_equal_differences_are_no_division_by_zero() -> None:
    assert paired_t([0.5, 0.75], [0.5, 0.75]) == 1.0
    assert paired_t([0.5, 0.75], [0.25, 0.5]) == 0.0


@given(pairs)
def test_sign_flip_is_that_of_listing_every_pattern(found: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*found, strict=True))
    ours = sign_flip(first, second)
    assert ours.p == sign_flip_by_listing([one - other for one, other in found])
    assert ours.p >= ours.resolution == 2 / 2 ** len(found)
    assert sign_flip(second, first) == ours


def test_five_splits_cannot_be_significant_at_five_percent() -> None:
    assert sign_flip([0.9] * 5, [0.1, 0.2, 0.3, 0.2, 0.1]).p == sign_flip([1] * 5, [0] * 5).resolution == 0.0625


def test_bootstrap_of_few_values_is_near_that_of_every_resample() -> None:
    values = [0.5, 0.25, 1.0, 0.125]
    means = [sum(drawn) / 4 for drawn in product(values, repeat=4)]
    low, high = bootstrap_interval(values, level=0.9)
    assert (low, high) == pytest.approx((np.quantile(means, 0.05), np.quantile(means, 0.95)), abs=0.04)


def test_bootstrap_of_many_values_is_near_the_normal_interval_and_repeatable() -> None:
    values = list(np.random.default_rng(0).normal(size=400))
    found = bootstrap_interval(values)
    half = 1.96 * np.std(values) / 20
    assert found == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.01)
    assert bootstrap_interval(values) == found


def test_without_scipy_tables_of_scores_print_and_tests_name_the_extra() -> None:
    script = """
import sys
sys.modules["scipy"] = None  # as if it were not installed
from nlpkit.fewshot import RunResult, comparison_table, score_table
runs = [RunResult("t", m, s, 0, "1f", test={"accuracy": s / 4}) for m in ("a", "b") for s in (1, 2)]
print("50.0" not in score_table(runs), "measured here" in score_table(runs))
try:
    comparison_table(runs, "a")
except ImportError as error:
    print(error)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    told = "True True\ntests of differences need scipy; install the extra 'eval': pip install '.[eval]' in a clone"
    assert printed.startswith(told)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_t([1.0], [2.0]), "1 and 1 scores; pairs need as many of both, and at least two"),
        (lambda: sign_flip([1.0, 2.0], [2.0]), "2 and 1 scores"),
        (lambda: sign_flip([1.0] * 21, [2.0] * 21), "21 pairs have too many sign patterns; average the seeds"),
        (lambda: bootstrap_interval([1.0]), "1 values, level 0.95; give at least two"),
        (lambda: bootstrap_interval([1.0, 2.0], level=95), "2 values, level 95"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
