"""Words from the impact of neighbours on each other: pure functions of strengths, borders and thresholds."""

from __future__ import annotations

import math
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
        border: the strength that stands for a link beyond either end of a run, where the source knows one: what it
            would give to units that have nothing to do with each other.

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
    border: float | None = None

    def ties(self) -> Strengths:
        """For each unit, the strength of what ties it to the unit before; not a number where no word goes on.

        Example:
            >>> LinkedText("天气好。", ((0, 1), (1, 2), (2, 3), (3, 4)), np.array([5.0, 1.0, 9.0])).ties()
            array([nan,  5.,  1., nan])
        """
        ties = np.full(len(self.spans), np.nan)
        joins = [may_join(self.text, left, right) for left, right in pairwise(self.spans)]
        ties[1:][joins] = self.strengths[joins]
        return ties

    def relative(self) -> LinkedText:
        """The same text, each strength less the mean of the links beside it in its run; 0 where there are none.

        How strongly all units of a passage hold together varies more than how much words stand out in it. At the ends
        of a run the border stands for the link that is missing, where there is one.

        Example:
            >>> linked = LinkedText("天气很好", ((0, 1), (1, 2), (2, 3), (3, 4)), np.array([5.0, 1.0, 3.0]))
            >>> linked.relative().strengths
            array([ 4., -3.,  2.])
            >>> replace(linked, border=-1.0).relative().strengths
            array([ 5., -3.,  3.])
        """
        ties = np.append(self.ties(), np.nan)
        beside = np.array([ties[:-2], ties[2:]])
        if self.border is not None:
            beside[np.isnan(beside)] = self.border
        links = (~np.isnan(beside)).sum(axis=0)
        means = np.nansum(beside, axis=0) / np.maximum(links, 1)
        compared = ~np.isnan(ties[1:-1]) & (links > 0)
        return replace(self, strengths=np.where(compared, ties[1:-1] - means, 0.0), border=None)

    def runs(self) -> list[Strengths]:
        """The strengths inside each run of at least two units that may join: no punctuation, one script."""
        ties = self.ties()
        runs = np.split(ties, np.flatnonzero(np.isnan(ties)))
        return [run[1:] for run in runs if len(run) > 1]

    def cut(self, threshold: float) -> list[str]:
        """The words: a unit stays with the one before it where that is allowed and at least as strong as asked.

        Args:
            threshold: the least strength that holds units together.

        Returns:
            Substrings of the text in order; white space between units is in none.
        """
        begins = np.flatnonzero(~(self.ties() >= threshold)).tolist()
        return [
            self.text[self.spans[first][0] : self.spans[end - 1][1]]
            for first, end in pairwise([*begins, len(self.spans)])
        ]


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
    linked = LinkedText(text, spans, np.zeros(max(len(spans) - 1, 0)))
    units = np.arange(len(spans))
    run_begins = np.maximum.accumulate(np.where(np.isnan(linked.ties()), units, 0))
    return replace(linked, strengths=((units - run_begins) % size > 0)[1:].astype(float)).cut(1.0)


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
        ValueError: NaN.

    Example:
        >>> find_threshold(2.5, [])
        2.5
    """
    if callable(threshold):
        return threshold([run for text in texts for run in text.runs()])
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.floating)):
        raise TypeError(
            f"threshold is {threshold!r}; give a number, or a function of nlpkit.perturbed_masking itself, not its "
            "name: otsu or MeanWordLength(units)"
        )
    if math.isnan(threshold):
        raise ValueError("threshold=nan is no number; give one, otsu, or MeanWordLength(units)")
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
