"""Scores of classes and labels of which some are rare: of all rows, of all classes alike, of the rare ones alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.labels import checked_cells, checked_indices, signed
from nlpkit.tasks.classification.known_answers import Numbers, as_tensor

#: Names of groups, from the most frequent classes to the rarest.
GROUPS = ("head", "medium", "tail")


class LongTailReport(NamedTuple):
    """What was scored.

    Attributes:
        scores: fractions by name. Those of groups are missing where no class of the group occurs among the answers.
        counts: training rows of each class, ``(classes,)``.
        support: answers of each class among those that were scored, ``(classes,)``.
        precision: the share of what was said of a class that is right, 0 where nothing was, ``(classes,)``.
        recall: the share of a class that was found, NaN where its support is 0, ``(classes,)``.
        f1: of both, NaN where the support is 0, ``(classes,)``.
    """

    scores: dict[str, float]
    counts: Tensor
    support: Tensor
    precision: Tensor
    recall: Tensor
    f1: Tensor


def frequency_groups(training_counts: Numbers, limits: tuple[float, float] = (20, 100)) -> list[str]:
    """Which classes are frequent, and which rare.

    Source: arXiv 1904.05160, section 4: classes of many shots have more than 100 training rows, of few fewer than 20.

    Args:
        training_counts: rows of each class.
        limits: a class with more than the second is in the head, one with fewer than the first in the tail.

    Returns:
        ``"head"``, ``"medium"`` or ``"tail"`` for each class.

    Raises:
        TypeError: counts or limits are no numbers.
        ValueError: limits do not rise, or counts are below 0, NaN or infinite.

    Example:
        >>> frequency_groups([101, 100, 20, 19])
        ['head', 'medium', 'medium', 'tail']
    """
    if len(limits) != 2:
        raise ValueError(f"limits={limits} must be two numbers, of the tail and of the head")
    low, high = limits
    checked_number("limits[0]", low, least=0)
    checked_number("limits[1]", high, least=low)
    counts = checked_counts(training_counts).tolist()
    return ["head" if count > high else "tail" if count < low else "medium" for count in counts]


def checked_counts(training_counts: Numbers) -> Tensor:
    """Training rows of each class, looked at: a number for each, finite and not below 0.

    Example:
        >>> checked_counts([5, float("nan")])
        Traceback (most recent call last):
        ValueError: training_counts hold nan: give the number of training rows of each class
    """
    counts = as_tensor("training_counts", training_counts)
    if counts.dim() != 1:
        raise ValueError(f"training_counts are of shape {tuple(counts.shape)}: give a number for each class")
    broken = ~((counts >= 0) & torch.isfinite(counts))
    if broken.any():
        raise ValueError(
            f"training_counts hold {counts[broken][0].item()}: give the number of training rows of each class"
        )
    return counts


def score_classes(
    predicted: Numbers, answers: Numbers, training_counts: Numbers, limits: tuple[float, float] = (20, 100)
) -> LongTailReport:
    """Scores of predictions of one class per row.

    Args:
        predicted: the class of each row, ``(rows,)``.
        answers: the right ones, ``(rows,)``; -100 counts for nothing.
        training_counts: rows of each class in training, ``(classes,)``.
        limits: see ``frequency_groups``.

    Returns:
        ``accuracy``, which is micro F1, too, where each row has one class; ``balanced accuracy``, the mean of the
        recalls of classes; ``macro F1``, the mean of their F1; and ``head``, ``medium`` and ``tail``, the balanced
        accuracy of those classes. Means are over classes that occur among the answers.

    Raises:
        TypeError: names are given, or other things that are no numbers.
        ValueError: rows differ in number, none is known, or a class was not counted.

    Example:
        >>> report = score_classes([0, 0, 1, 0], [0, 0, 1, 1], training_counts=[500, 5])
        >>> {name: round(score, 3) for name, score in report.scores.items()}
        {'accuracy': 0.75, 'balanced accuracy': 0.75, 'macro F1': 0.733, 'head': 1.0, 'tail': 0.5}
    """
    counts, said, right = _fitting(predicted, answers, training_counts, dimensions=1)
    known = right != -100
    right = checked_indices(right[known], len(counts), "training counts")
    said = _said_classes(said[known], len(counts))
    hits, guesses, support = (
        torch.bincount(numbers, minlength=len(counts)) for numbers in (right[said == right], said, right)
    )
    report = _of_counts({"accuracy": float((said == right).double().mean())}, hits, guesses, support, counts)
    report.scores["balanced accuracy"] = float(report.recall.nanmean())
    report.scores["macro F1"] = float(report.f1.nanmean())
    report.scores.update(_of_groups(report.recall, counts, limits))
    return report


def score_labels(
    predicted: Numbers, answers: Numbers, training_counts: Numbers, limits: tuple[float, float] = (20, 100)
) -> LongTailReport:
    """Scores of predictions of any number of labels per row.

    Args:
        predicted: whether each label was said to apply, ``(rows, labels)``.
        answers: whether it does, ``(rows, labels)``; -100 counts for nothing.
        training_counts: rows with each label in training, ``(labels,)``.
        limits: see ``frequency_groups``.

    Returns:
        ``micro F1``, of all labels together; ``macro F1``, the mean of the F1 of labels; ``exact``, the share of rows
        that are right as a whole; and ``head``, ``medium`` and ``tail``, the macro F1 of those labels. Means are over
        labels that occur among the answers, and both are NaN where none does.

    Raises:
        TypeError: names are given, or other things that are no numbers.
        ValueError: shapes differ, nothing is known, or numbers are neither 0 nor 1.

    Example:
        >>> report = score_labels([[1, 0], [1, 0], [1, 1]], [[1, 0], [1, 1], [1, 1]], training_counts=[500, 5])
        >>> {name: round(score, 3) for name, score in report.scores.items()}
        {'micro F1': 0.889, 'macro F1': 0.833, 'exact': 0.667, 'head': 1.0, 'tail': 0.667}
    """
    counts, given, right = _fitting(predicted, answers, training_counts, dimensions=2)
    known = right != -100
    applies = torch.where(known, right, 0) == 1
    checked_cells(right[known])
    said = checked_cells(given) & known
    hits, guesses, support = (side.sum(dim=0) for side in (said & applies, said, applies))
    micro = 2 * hits.sum().double() / (guesses + support).sum().clamp(min=1)
    report = _of_counts({"micro F1": float(micro) if support.any() else np.nan}, hits, guesses, support, counts)
    report.scores["macro F1"] = float(report.f1.nanmean())
    rows = known.any(dim=1)
    report.scores["exact"] = float((said == applies)[rows].all(dim=1).double().mean())
    report.scores.update(_of_groups(report.f1, counts, limits))
    return report


def _said_classes(said: Tensor, classes: int) -> Tensor:
    if said.is_floating_point() or said.dtype == torch.bool:
        raise ValueError(f"predicted are {said.dtype}, no numbers of classes; of logits give logits.argmax(dim=-1)")
    outside = (said < 0) | (said >= classes)
    if outside.any():
        raise ValueError(
            f"predicted hold {int(said[outside][0])}, but training counts {classes} classes: give 0 to {classes - 1}"
        )
    return said


def _fitting(
    predicted: Numbers, answers: Numbers, training_counts: Numbers, dimensions: int
) -> tuple[Tensor, Tensor, Tensor]:
    counts = checked_counts(training_counts)
    said, right = signed(as_tensor("predicted", predicted)), signed(as_tensor("answers", answers))
    wanted = "(rows,)" if dimensions == 1 else f"(rows, {len(counts)})"
    if said.dim() != dimensions or said.shape != right.shape or (dimensions == 2 and said.shape[1] != len(counts)):
        raise ValueError(
            f"predicted is of shape {tuple(said.shape)}, answers of {tuple(right.shape)}, and {len(counts)} classes "
            f"were counted in training: give both as {wanted}"
        )
    if not (right != -100).any():
        raise ValueError("no answer is known: all are -100, or there are no rows")
    return counts, said, right


def _of_counts(
    scores: dict[str, float], hits: Tensor, guesses: Tensor, support: Tensor, counts: Tensor
) -> LongTailReport:
    hits = hits.double()
    recall, f1 = hits / support, 2 * hits / (guesses + support)
    f1[support == 0] = np.nan
    return LongTailReport(scores, counts, support, hits / guesses.clamp(min=1), recall, f1)


def _of_groups(values: Tensor, counts: Tensor, limits: tuple[float, float]) -> dict[str, float]:
    """The mean of each group's classes, without those that are NaN."""
    of_class = frequency_groups(counts, limits)
    members = {name: values[[group == name for group in of_class]] for name in GROUPS}
    return {name: float(found.nanmean()) for name, found in members.items() if not found.isnan().all()}
