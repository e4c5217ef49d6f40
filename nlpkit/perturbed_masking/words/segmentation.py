"""Words from the impact of neighbours on each other: pure functions of strengths, borders and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.perturbed_masking.words.script import Span, may_join, split_characters

Strengths = NDArray[np.float64]
#: A number, or what finds one on unlabelled text: the strengths inside each run of units that may join.
Threshold = float | Callable[[Sequence[Strengths]], float]


@dataclass(frozen=True)
class LinkedText:
    """A text, its units, and how strongly each is linked to the next one.

    Args:
        text: the text.
        spans: ranges of its units.
        strengths: of unit ``k`` and unit ``k + 1``, in the unit of the distance, shape ``(units - 1,)``.

    Example:
        >>> linked = LinkedText("天气好。", ((0, 1), (1, 2), (2, 3), (3, 4)), np.array([5.0, 1.0, 9.0]))
        >>> [run.tolist() for run in linked.runs()]
        [[5.0, 1.0]]
        >>> linked.cut(threshold=2.0)
        ['天气', '好', '。']
    """

    text: str
    spans: tuple[Span, ...]
    strengths: Strengths

    def joints(self) -> list[tuple[float | None, Span]]:
        """Each unit's range, with the strength of what ties it to the unit before; ``None`` where no word goes on."""
        tied: list[float | None] = [None]
        for (left, right), strength in zip(pairwise(self.spans), self.strengths.tolist(), strict=True):
            tied.append(strength if may_join(self.text, left, right) else None)
        return list(zip(tied, self.spans, strict=True)) if self.spans else []

    def relative(self) -> LinkedText:
        """The same text, each strength less the mean of the links beside it in its run; 0 where there are none.

        How strongly all units of a passage hold together varies more than how much words stand out in it.

        Example:
            >>> linked = LinkedText("天气很好", ((0, 1), (1, 2), (2, 3), (3, 4)), np.array([5.0, 1.0, 3.0]))
            >>> linked.relative().strengths
            array([ 4., -3.,  2.])
        """
        ties = [None, *(tie for tie, _ in self.joints()[1:]), None]
        strengths = np.zeros(len(self.strengths))
        for place, tie in enumerate(ties[1:-1]):
            beside = [other for other in (ties[place], ties[place + 2]) if other is not None]
            if tie is not None and beside:
                strengths[place] = tie - sum(beside) / len(beside)
        return replace(self, strengths=strengths)

    def runs(self) -> list[Strengths]:
        """The strengths inside each run of at least two units that may join: no punctuation, one script."""
        runs: list[list[float]] = [[]]
        for strength, _ in self.joints():
            if strength is None:
                runs.append([])
            else:
                runs[-1].append(strength)
        return [np.array(run) for run in runs if run]

    def cut(self, threshold: float) -> list[str]:
        """The words: a unit stays with the one before it where that is allowed and at least as strong as asked.

        Args:
            threshold: the least strength that holds units together.

        Returns:
            Substrings of the text in order; white space between units is in none.
        """
        words: list[Span] = []
        for strength, (start, end) in self.joints():
            if strength is not None and strength >= threshold:
                words[-1] = (words[-1][0], end)
            else:
                words.append((start, end))
        return [self.text[start:end] for start, end in words]


def cut_evenly(text: str, size: int) -> list[str]:
    """Cut after every so many units of each run that may join at all: the baseline for words.

    Args:
        text: any text.
        size: units per word, at least 1.

    Returns:
        The words; white space is in none.

    Raises:
        ValueError: ``size`` is below 1.

    Example:
        >>> cut_evenly("今天天，气GPT好的", 2)
        ['今天', '天', '，', '气', 'GPT', '好的']
    """
    if size < 1:
        raise ValueError(f"size is {size}; give the units per word, 1 or more")
    spans = tuple(split_characters(text))
    place, ties = 0, []
    for strength, _ in LinkedText(text, spans, np.zeros(max(len(spans) - 1, 0))).joints():
        place = 0 if strength is None else place + 1
        ties.append(float(place % size > 0))
    return LinkedText(text, spans, np.array(ties[1:])).cut(1.0)


def neighbour_strengths(impact: ArrayLike) -> Strengths:
    """How strongly neighbours are linked: the mean of the impact in both directions.

    Source: kexue.fm/archives/7476: cut where ``(f(i, i+1) + f(i+1, i)) / 2`` is small.

    Args:
        impact: shape ``(n, n)``; only the two diagonals beside the main one are read.

    Returns:
        Shape ``(n - 1,)``, empty for fewer than two units.

    Example:
        >>> neighbour_strengths([[0.0, 4.0, 1.0], [2.0, 0.0, 0.5], [9.0, 1.5, 0.0]])
        array([3., 1.])
    """
    matrix = np.asarray(impact, dtype=np.float64)
    return (np.diagonal(matrix, 1) + np.diagonal(matrix, -1)) / 2


def otsu(runs: Sequence[Strengths]) -> float:
    """The threshold that divides strengths into two classes with the least variance inside them.

    Source: Otsu (1979), on the values themselves rather than a histogram; the optimum of 2-means on a line.

    Args:
        runs: strengths on unlabelled text, as ``LinkedText.runs`` gives them.

    Returns:
        Half way between the classes; 0 for fewer than two different values, where there is nothing to divide.

    Example:
        >>> otsu([np.array([1.0, 1.2, 5.0]), np.array([0.8, 5.4])])
        3.1
    """
    values = np.sort(np.concatenate([np.zeros(0), *runs]))
    if len(values) < 2 or values[0] == values[-1]:
        return 0.0
    below = np.arange(1, len(values))
    sums = np.cumsum(values)[:-1]
    # Between-class variance, up to a constant: n1 n2 (mean1 - mean2)^2.
    means = sums / below, (values.sum() - sums) / (len(values) - below)
    gains = below * (len(values) - below) * (means[0] - means[1]) ** 2
    best = int(gains.argmax())
    return float((values[best] + values[best + 1]) / 2)


@dataclass(frozen=True)
class MeanWordLength:
    """The threshold at which words come out as long as they should be on average.

    Args:
        units: of a word, on average over the runs of units that may join at all; at least 1.

    Raises:
        ValueError: ``units`` is below 1.

    Example:
        >>> MeanWordLength(1.5)([np.array([1.0, 5.0, 3.0, 2.0, 4.0])])
        3.5
    """

    units: float

    def __post_init__(self) -> None:
        if not self.units >= 1:
            raise ValueError(f"a word cannot have {self.units} units on average; give a number from 1 on, e.g. 1.6")

    def __call__(self, runs: Sequence[Strengths]) -> float:
        """The threshold for these strengths; 0 where there are none."""
        values = np.sort(np.concatenate([np.zeros(0), *runs]))
        if len(values) == 0:
            return 0.0
        cuts = round((len(values) + len(runs)) / self.units) - len(runs)
        if cuts <= 0:
            return float(values[0])
        if cuts >= len(values):
            return float(np.nextafter(values[-1], np.inf))
        return float((values[cuts - 1] + values[cuts]) / 2)


def find_threshold(threshold: Threshold, texts: Iterable[LinkedText]) -> float:
    """The number that a threshold is or finds.

    Args:
        threshold: a number, or a function of the strengths.
        texts: unlabelled texts to find it on; not read for a number.

    Raises:
        TypeError: neither a number nor callable.

    Example:
        >>> find_threshold(2.5, [])
        2.5
    """
    if callable(threshold):
        return threshold([run for text in texts for run in text.runs()])
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.floating)):
        raise TypeError(f"threshold is {threshold!r}; give a number, otsu, or MeanWordLength(units)")
    return float(threshold)


def describe_threshold(threshold: Threshold) -> str:
    """A threshold in few words, for tables.

    Example:
        >>> describe_threshold(otsu), describe_threshold(MeanWordLength(1.6)), describe_threshold(8.0)
        ('otsu', 'mean word of 1.6', '8')
    """
    if isinstance(threshold, MeanWordLength):
        return f"mean word of {threshold.units:g}"
    return str(getattr(threshold, "__name__", threshold)) if callable(threshold) else f"{threshold:g}"
