"""Scores of sentences, each weighing the same, as papers on unsupervised parsing report them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.treebanks.scores import Interval, Scores, times_drawn


def sentence_f1(score: SpanScores) -> float:
    """F1 of one sentence as papers on unsupervised parsing count it, to be averaged over sentences.

    Where gold has no constituent the recall is 1, and so is the precision where none was found either. Those papers
    count neither the constituent over the whole sentence nor any of a single word, and leave out sentences of one
    word.

    Source: the evaluation of Kim et al. (2019), arXiv 1906.10225, that later work shares.

    Args:
        score: counts of the sentence, without trivial constituents.

    Returns:
        In [0, 1].

    Example:
        >>> sentence_f1(SpanScores(0, 0, 0)), sentence_f1(SpanScores(0, 2, 0)), sentence_f1(SpanScores(1, 3, 1))
        (1.0, 0.0, 0.5)
    """
    return 1.0 if score.gold == score.predicted == 0 else score.f1


def sentence_interval(
    scores: Sequence[Scores],
    metric: Callable[[Scores], float],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The mean over sentences with a bootstrap interval; ``corpus_interval``, but each sentence weighs the same.

    Args:
        scores: counts per sentence.
        metric: of one sentence, e.g. ``sentence_f1``.
        confidence: as for ``corpus_interval``.
        resamples: as for ``corpus_interval``.
        seed: as for ``corpus_interval``.

    Returns:
        The mean, and the interval; 0 without sentences.

    Example:
        >>> sentence_interval([SpanScores(1, 1, 1)] * 5, sentence_f1)
        Interval(value=1.0, low=1.0, high=1.0)
    """
    values = np.array([metric(score) for score in scores])
    if len(values) == 0:
        return Interval(0.0, 0.0, 0.0)
    drawn = times_drawn(len(values), resamples, seed) @ values / len(values)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))
