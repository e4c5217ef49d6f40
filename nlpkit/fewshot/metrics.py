"""Scores of predicted labels; fractions between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: Gold labels and predicted ones, of equal length, to a score where more is better.
Metric = Callable[[Sequence[str], Sequence[str]], float]


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The share of labels that are right.

    Args:
        gold: the right labels, at least one.
        predicted: as many predicted ones.

    Returns:
        A fraction.

    Raises:
        ValueError: there are no labels, or not as many predicted as right ones.

    Example:
        >>> accuracy(["a", "b", "b", "a"], ["a", "b", "a", "a"])
        0.75
    """
    _check_lengths(gold, predicted)
    return sum(right == found for right, found in zip(gold, predicted, strict=True)) / len(gold)


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The mean over labels of F1, each label counting alike however rare.

    The labels are those that occur on either side. One that is only predicted scores 0, so that a guess of something
    that is never right costs as much as a label that is never found.

    Args:
        gold: the right labels, at least one.
        predicted: as many predicted ones.

    Returns:
        A fraction.

    Raises:
        ValueError: there are no labels, or not as many predicted as right ones.

    Example:
        >>> macro_f1(["a", "a", "b"], ["a", "b", "b"])  # both labels: 2 x 1 / (2 x 1 + 1)
        0.6666666666666666
    """
    _check_lengths(gold, predicted)
    labels = sorted({*gold, *predicted})
    pairs = list(zip(gold, predicted, strict=True))
    scores = []
    for label in labels:
        hits = sum(right == found == label for right, found in pairs)
        misses = sum((right == label) != (found == label) for right, found in pairs)
        scores.append(2 * hits / (2 * hits + misses))
    return sum(scores) / len(scores)


def _check_lengths(gold: Sequence[str], predicted: Sequence[str]) -> None:
    if not gold or len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} right labels and {len(predicted)} predicted ones; give as many, at least one")
