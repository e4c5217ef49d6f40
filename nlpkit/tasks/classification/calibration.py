"""Whether probabilities are what they say: of the answers of which 80 % is said, 80 % should be right.

Functions of probabilities and right answers: of one class per row, shape ``(rows, classes)`` and ``(rows,)``, or of
labels that each apply or not, both of shape ``(rows, labels)``. Answers that are -100 count for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.tasks.classification.known_answers import Numbers, known_answers


class Reliability(NamedTuple):
    """How sure answers were and how many of them were right, by bins of how sure they were; empty bins are left out.

    Attributes:
        confidence: the mean of each bin, ``(bins,)``, rising.
        accuracy: the share that was right, ``(bins,)``.
        sizes: how many answers, ``(bins,)``.
    """

    confidence: Tensor
    accuracy: Tensor
    sizes: Tensor

    @property
    def error(self) -> float:
        """The mean over answers of the distance of their bin's confidence and accuracy."""
        distances = (self.accuracy - self.confidence).abs()
        return float((distances * self.sizes).sum() / self.sizes.sum())


def reliability(probabilities: Numbers, answers: Numbers, *, bins: int = 15, adaptive: bool = False) -> Reliability:
    """Sort what was said into bins of how sure it was.

    Source: arXiv 1706.04599, section 2 and equation 3; arXiv 1904.01685 for bins of equally many answers.

    Args:
        probabilities: of classes, of which the most probable one is what was said; or of labels, each of which is said
            to apply with its probability.
        answers: the right ones.
        bins: how many.
        adaptive: bins hold equally many answers, where equal probabilities stay in one bin; else they are equally
            wide, each with its upper end.

    Returns:
        What a reliability diagram shows, and its ``error``.

    Raises:
        ValueError: probabilities are none, do not sum to 1 over classes, or do not fit the answers; or no answer is
            known.

    Example:
        >>> found = reliability([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2], [0.2, 0.8]], [0, 0, 1, 1], bins=4)
        >>> found.confidence.tolist(), found.accuracy.tolist(), found.sizes.tolist()
        ([0.7, 0.8333...], [1.0, 0.6666...], [1, 3])
    """
    return _binned(*_said(probabilities, answers), bins, adaptive)


def expected_calibration_error(probabilities: Numbers, answers: Numbers, bins: int = 15) -> float:
    """How far confidence and accuracy are apart, over bins of equal width (ECE).

    Source: arXiv 1706.04599, equation 3.

    Args:
        probabilities: as for ``reliability``.
        answers: as for ``reliability``.
        bins: how many.

    Returns:
        A fraction; 0 is best.

    Raises:
        ValueError: as of ``reliability``.

    Note:
        It knows the most probable class alone; of labels it is about all of them together, most of which do not apply
        and are easily right. What ``adaptive_calibration_error`` says of rare classes does not get lost in it.

    Example:
        >>> round(expected_calibration_error([[0.8, 0.2]] * 5, [0, 0, 0, 1, 1]), 6)
        0.2
    """
    return reliability(probabilities, answers, bins=bins).error


def adaptive_calibration_error(probabilities: Numbers, answers: Numbers, bins: int = 15) -> float:
    """The mean over classes or labels of how far the probability and the share of each are apart (ACE).

    Source: arXiv 1904.01685, equation 5: for each class, rows are sorted into bins of equally many by its probability.

    Args:
        probabilities: as for ``reliability``.
        answers: as for ``reliability``.
        bins: of each class.

    Returns:
        A fraction; 0 is best. Labels without a known answer count for nothing.

    Raises:
        ValueError: as of ``reliability``.

    Note:
        Equal probabilities stay in one bin, and bins count as the rows that they hold, so that the order of rows
        changes nothing. Few rows have an error though the model has none: bins of 20 rows and a probability of 0.5
        are 0.09 off in the mean.

    Example:
        >>> round(adaptive_calibration_error([[0.8, 0.2]] * 5, [0, 0, 0, 1, 1]), 6)
        0.2
    """
    checked, right = _checked(probabilities, answers)
    if right.dim() == 1:
        right = F.one_hot(right, checked.shape[1]).to(checked.dtype)
    errors = [
        _binned(said[known], hits[known], bins, adaptive=True).error
        for said, hits in zip(checked.T, right.T, strict=True)
        if (known := hits != -100).any()
    ]
    return sum(errors) / len(errors)


def brier_score(probabilities: Numbers, answers: Numbers) -> float:
    """The squared distance of probabilities and right answers.

    Source: Brier, Monthly Weather Review 78, 1950, equation 2.

    Args:
        probabilities: as for ``reliability``.
        answers: as for ``reliability``.

    Returns:
        Over classes the mean of the sum of each row, from 0 to 2; of labels the mean over all of them, from 0 to 1.
        0 is best.

    Raises:
        ValueError: as of ``reliability``.

    Note:
        Unlike calibration errors it is least for the true probabilities, and for no others: a model that always says
        how frequent each class is has no calibration error.

    Example:
        >>> round(brier_score([[0.8, 0.2], [0.5, 0.5]], [0, 1]), 6)
        0.29
    """
    checked, right = _checked(probabilities, answers)
    if right.dim() == 1:
        hot = F.one_hot(right, checked.shape[1])
        return float(((checked - hot) ** 2).sum(dim=1).mean())
    return float(((checked - right) ** 2)[right != -100].mean())


def probability_errors(probabilities: Numbers, answers: Numbers, bins: int = 15) -> dict[str, float]:
    """All three: ``ECE``, ``ACE`` and ``Brier``.

    Args:
        probabilities: as for ``reliability``.
        answers: as for ``reliability``.
        bins: of the first two.

    Returns:
        Fractions by name.

    Raises:
        ValueError: as of ``reliability``.

    Example:
        >>> found = probability_errors([[0.8, 0.2]] * 5, [0, 0, 0, 1, 1])
        >>> {name: round(error, 6) for name, error in found.items()}
        {'ECE': 0.2, 'ACE': 0.2, 'Brier': 0.56}
    """
    return {
        "ECE": expected_calibration_error(probabilities, answers, bins),
        "ACE": adaptive_calibration_error(probabilities, answers, bins),
        "Brier": brier_score(probabilities, answers),
    }


def _said(probabilities: Numbers, answers: Numbers) -> tuple[Tensor, Tensor]:
    """How sure each answer was, and whether it was right, as 1.0 or 0.0; both of shape ``(said,)``."""
    checked, right = _checked(probabilities, answers)
    if right.dim() == 1:
        confidence, said = checked.max(dim=1)
        return confidence, (said == right).double()
    known = right != -100
    return checked[known], right[known]


def _binned(confidence: Tensor, hits: Tensor, bins: int, adaptive: bool) -> Reliability:
    checked_number("bins", bins, least=1, most=100_000, whole=True)
    if adaptive:
        _, group, equal = confidence.unique(return_inverse=True, return_counts=True)
        twice_rank = 2 * equal.cumsum(0) - equal - 1  # the mean of those that are equal, from 0
        bin_of = (twice_rank * bins // (2 * len(confidence)))[group]
    else:
        edges = torch.arange(1, bins, dtype=confidence.dtype) / bins
        bin_of = torch.bucketize(confidence, edges)
    sizes = torch.bincount(bin_of, minlength=bins)
    filled = sizes > 0
    said, right = (torch.bincount(bin_of, weights, bins)[filled] for weights in (confidence, hits))
    sizes = sizes[filled]
    return Reliability(said / sizes, right / sizes, sizes)


def _checked(probabilities: Numbers, answers: Numbers) -> tuple[Tensor, Tensor]:
    """As of ``known_answers``; a ``ValueError`` where numbers are no probabilities."""
    said, right = known_answers("probabilities", probabilities, answers)
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError("probabilities must be in [0, 1]: give logits through a softmax, or a sigmoid for labels")
    sums = said.sum(dim=1)
    if right.dim() == 1 and (sums - 1).abs().max() > 1e-2:  # half precision rounds by less
        raise ValueError(
            f"probabilities of a row sum to {sums[(sums - 1).abs().argmax()].item():.4g}, not to 1: give the softmax "
            "of logits, or answers of 0 or 1 for each where labels apply independently"
        )
    return said, right
