"""Accuracy by class and by groups of classes."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from nlpkit.losses import balanced_accuracy, group_accuracy


def test_it_is_scikit_learns() -> None:
    draws = torch.Generator().manual_seed(0)
    labels, predicted = torch.randint(0, 5, (2, 60), generator=draws)
    labels[labels == 3] = predicted[predicted == 3] = 4  # a class that does not occur
    expected = balanced_accuracy_score(labels.numpy(), predicted.numpy())
    assert balanced_accuracy(predicted, labels) == pytest.approx(expected, abs=1e-12)
    unknown = torch.cat([labels, torch.tensor([-100])])
    assert balanced_accuracy(torch.cat([predicted, torch.tensor([0])]), unknown) == pytest.approx(expected, abs=1e-12)


def test_groups_are_those_of_the_training_counts() -> None:
    counts = [101, 100, 20, 19, 0]
    predicted, labels = [0, 1, 0, 2, 3, 0], [0, 1, 1, 2, 3, 3]
    assert group_accuracy(predicted, labels, counts) == {"head": 1.0, "medium": 0.75, "tail": 0.5}
    assert group_accuracy([0], [0], counts) == {"head": 1.0}


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(ValueError, match="2 labels, 2 of them known, and 1 predicted ones"):
        balanced_accuracy([0], [0, 1])
    with pytest.raises(ValueError, match="1 labels, 0 of them known"):
        balanced_accuracy([0], [-100])
    with pytest.raises(ValueError, match="labels hold 5, but there are 2 classes"):
        group_accuracy([0], [5], [1, 1])
