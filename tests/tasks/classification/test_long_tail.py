"""Scores of rare classes and labels against scikit-learn, and what training rows have for answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from nlpkit.losses import balanced_accuracy, class_priors, group_accuracy
from nlpkit.tasks.classification import ClassSet, LabelSet, frequency_groups, score_classes, score_labels

COUNTS = [5000, 101, 100, 20, 19, 1]


@given(seed=st.integers(0, 999), rows=st.integers(1, 50))
def test_scores_of_classes_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    said, right = np.random.default_rng(seed).integers(0, 6, (2, rows))
    report = score_classes(said, right, COUNTS)
    there = np.unique(right)
    assert report.scores["accuracy"] == pytest.approx(metrics.accuracy_score(right, said))
    assert report.scores["accuracy"] == pytest.approx(metrics.f1_score(right, said, average="micro"))
    assert report.scores["balanced accuracy"] == pytest.approx(balanced_accuracy(said, right))
    macro = metrics.f1_score(right, said, labels=there, average="macro", zero_division=0)
    assert report.scores["macro F1"] == pytest.approx(macro)
    groups = {name: report.scores[name] for name in ("head", "medium", "tail") if name in report.scores}
    assert groups == pytest.approx(group_accuracy(said, right, COUNTS))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        right, said, labels=range(6), zero_division=0
    )
    assert report.support.tolist() == support.tolist()
    np.testing.assert_allclose(report.precision, precision)
    np.testing.assert_allclose(report.recall, np.where(support, recall, np.nan))
    np.testing.assert_allclose(report.f1, np.where(support, f1, np.nan))


@given(seed=st.integers(0, 999), rows=st.integers(1, 30))
def test_scores_of_labels_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    said, right = (np.random.default_rng(seed).random((2, rows, 6)) < 0.3).astype(int)
    report = score_labels(said, right, COUNTS)
    there = np.flatnonzero(right.any(axis=0))
    micro = metrics.f1_score(right, said, average="micro", zero_division=0) if right.any() else np.nan
    assert report.scores["micro F1"] == pytest.approx(micro, nan_ok=True)
    assert report.scores["exact"] == pytest.approx(metrics.accuracy_score(right, said))
    if len(there):
        macro = metrics.f1_score(right, said, labels=there, average="macro", zero_division=0)
        assert report.scores["macro F1"] == pytest.approx(macro)
    each = metrics.f1_score(right, said, average=None, zero_division=0)
    for name, members in (("head", [0, 1]), ("medium", [2, 3]), ("tail", [4, 5])):
        found = [each[place] for place in members if place in there]
        assert (name in report.scores) == bool(found)
        if found:
            assert report.scores[name] == pytest.approx(np.mean(found))


def test_unknown_answers_count_for_nothing() -> None:
    assert score_classes([0, 1, 5], [0, -100, 5], COUNTS).scores == score_classes([0, 5], [0, 5], COUNTS).scores
    said, right = torch.tensor([[1, 1], [0, 1], [1, 1]]), torch.tensor([[1, -100], [0, 0], [-100, -100]])
    report = score_labels(said, right, [50, 5])
    assert report.scores == {"micro F1": pytest.approx(2 / 3), "macro F1": 1.0, "exact": 0.5, "medium": 1.0}
    assert report.f1.isnan().tolist() == [False, True]


def test_groups_are_told_by_training_counts() -> None:
    assert frequency_groups(COUNTS) == ["head", "head", "medium", "medium", "tail", "tail"]
    assert frequency_groups(torch.tensor([3, 9]), limits=(5, 8)) == ["tail", "head"]
    with pytest.raises(ValueError, match=r"limits\[1\]=2: give a finite number at least 5"):
        frequency_groups([1], limits=(5, 2))


@pytest.mark.parametrize(
    ("said", "right", "told"),
    [
        ([0], [0, 1], r"predicted is of shape \(1,\), answers of \(2,\), and 6 classes"),
        ([0], [-100], r"no answer is known"),
        ([], [], r"no answer is known"),
        ([6], [0], r"predicted hold 6, but training counts 6 classes: give 0 to 5$"),
        ([-100], [0], r"predicted hold -100, but training counts 6 classes: give 0 to 5$"),
        ([0], [7], r"labels hold 7, but training counts 6 classes"),
        ([0.3, 0.7], [0, 1], r"predicted are torch.float64, no numbers of classes; of logits give logits.argmax"),
        ([True], [1], r"predicted are torch.bool"),
    ],
)
def test_bad_classes_are_named(said: list[float], right: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        score_classes(said, np.array(right, int), COUNTS)


@pytest.mark.parametrize(
    ("counts", "error", "told"),
    [
        ([5, math.nan], ValueError, "training_counts hold nan: give the number of training rows of each class"),
        ([5, math.inf], ValueError, "training_counts hold inf"),
        ([5, -1], ValueError, "training_counts hold -1"),
        ([[5, 1]], ValueError, r"training_counts are of shape \(1, 2\): give a number for each class"),
        (["a", "b"], TypeError, "training_counts are no numbers: array"),
        ({0: 5, 1: 1}, TypeError, "training_counts is a dict; give a list, in the order of the classes"),
    ],
)
def test_bad_counts_are_named(counts: Any, error: type[Exception], told: str) -> None:
    for scored in (
        lambda: frequency_groups(counts),
        lambda: score_classes([0, 1], [0, 1], counts),
        lambda: score_labels([[0, 1]], [[0, 1]], counts),
    ):
        with pytest.raises(error, match=told):
            scored()


def test_names_are_no_numbers() -> None:
    told = "are no numbers: array.*; ClassSet and LabelSet give names theirs"
    for said, right in ((["a", "b"], [0, 1]), ([0, 1], ["a", "b"])):
        with pytest.raises(TypeError, match=told):
            score_classes(said, right, [5, 5])
    with pytest.raises(TypeError, match="predicted are no numbers in rows of one length"):
        score_labels([[0], [0, 1]], [[0, 1], [0, 1]], [5, 5])


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"give both as \(rows, 2\)"):
        score_labels([[1, 0, 1]], [[1, 0, 1]], [5, 5])
    with pytest.raises(ValueError, match=r"labels hold 0.7: give 0 or 1"):
        score_labels([[0.7, 0.0]], [[1, 0]], [5, 5])
    with pytest.raises(ValueError, match=r"labels hold 3: give 0 or 1"):
        score_labels([[1, 0]], [[3, 0]], [5, 5])


def test_answers_are_numbered_in_the_order_of_their_names() -> None:
    rows = [{"text": "", "label": label} for label in ("b", 10, "b", "a")]
    classes = ClassSet.of(rows)
    assert classes.names == ("10", "a", "b") and classes.counts.tolist() == [1, 1, 2]
    assert classes.numbers([*rows, {"label": "new"}]).tolist() == [2, 0, 2, 1, -100]
    torch.testing.assert_close(classes.priors, class_priors([2, 0, 2, 1], 3))
    labels = LabelSet.of([{"labels": ["b", "b", "a"]}, {"labels": []}, {"labels": ["a"]}])
    assert labels.counts.tolist() == [2, 1]
    hot = labels.numbers([{"labels": ["b", "a"]}, {"labels": []}, {"labels": ["a", "new"]}])
    assert hot.tolist() == [[1, 1], [0, 0], [1, 0]]
    torch.testing.assert_close(labels.priors, class_priors(hot, 2, multi_label=True))
    assert labels.config["problem_type"] == "multi_label_classification" and classes.config["num_labels"] == 3


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        (
            ClassSet,
            {"text": "x", "labels": ["a"]},
            r"row 1 has None as its label: give a text or a number; it has text",
        ),
        (ClassSet, {"label": ["a"]}, r"row 1 has \['a'\] as its label"),
        (LabelSet, {"labels": "a,b"}, r"row 1 has 'a,b' as its labels: give a list of them"),
        (LabelSet, {"label": "a"}, r"row 1 has None as its labels: give a list of them; it has label"),
    ],
)
def test_rows_without_an_answer_are_named(kind: type[ClassSet | LabelSet], row: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind.of([{"label": "a", "labels": ["a"]}, row])


@pytest.mark.parametrize("kind", [ClassSet, LabelSet])
def test_rows_may_be_read_once(kind: type[ClassSet | LabelSet]) -> None:
    rows = [{"label": "b", "labels": ["b"]}, {"label": "a", "labels": []}]
    assert kind.of(iter(rows)).counts.tolist() == kind.of(rows).counts.tolist()
    assert torch.equal(kind.of(rows).numbers(iter(rows)), kind.of(rows).numbers(rows))
    with pytest.raises(TypeError, match="row 0 is 'label', a str; give a mapping of columns for each row"):
        kind.of({"label": "a"})


def test_nothing_to_learn_is_told() -> None:
    with pytest.raises(ValueError, match=r"no row to learn a class from"):
        ClassSet.of([])
    with pytest.raises(ValueError, match=r"no row to learn a label from"):
        LabelSet.of([{"labels": []}])


def test_names_that_are_numbers_stand_by_their_size() -> None:
    rows = [{"label": number} for number in (10, 2, np.int64(0), "11", 1)]
    assert ClassSet.of(rows).names == ("0", "1", "2", "10", "11")
    assert LabelSet.of([{"labels": [10, 9]}]).names == ("9", "10")
    assert ClassSet.of([{"label": "10"}, {"label": "9a"}]).names == ("10", "9a")


@pytest.mark.parametrize("label", [None, True, 1.5, ["a"]])
def test_what_is_neither_a_text_nor_a_whole_number_is_no_label(label: object) -> None:
    with pytest.raises(ValueError, match=r"row 0 has .* as its label: give a text or a number"):
        ClassSet.of([{"label": label}])
    with pytest.raises(ValueError, match=r"row 0 has .* among its labels: give texts or whole numbers"):
        LabelSet.of([{"labels": [label]}])


def test_scores_of_no_label_at_all_are_none() -> None:
    scores = score_labels([[0, 1]], [[0, 0]], training_counts=[5, 5]).scores
    assert math.isnan(scores["micro F1"]) and math.isnan(scores["macro F1"]) and scores["exact"] == 0
