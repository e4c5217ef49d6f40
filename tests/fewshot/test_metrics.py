"""Scores, against counts by hand and scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.fewshot.metrics import accuracy, macro_f1

pairs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30)


@given(pairs)
def test_scores_are_those_of_scikit_learn(labels: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    gold, predicted = zip(*labels, strict=True)
    assert accuracy(gold, predicted) == pytest.approx(metrics.accuracy_score(gold, predicted))
    assert macro_f1(gold, predicted) == pytest.approx(metrics.f1_score(gold, predicted, average="macro"))


def test_label_that_is_never_right_counts_in_the_mean() -> None:
    assert macro_f1(["a", "a"], ["a", "b"]) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("metric", [accuracy, macro_f1])
def test_unequal_or_empty_lists_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="2 right labels and 1 predicted ones; give as many"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 right labels and 0 predicted ones"):
        metric([], [])
