"""Scores of dependency trees (UAS, UUAS, NED) and of constituency trees (unlabelled F1), with intervals.

Punctuation changes every one of these numbers, so nothing is left out unless the caller says so:

- *counted*: give whole trees. This is what Wu et al. (2020) report on PUD.
- *not scored*: ``scored=sentence.scored``. Punctuation stays in the sentence; its own arcs count for nothing.
- *removed*: ``without_words`` on dependency trees, ``drop_tags`` of ``read_brackets`` on constituents. The parser
  never sees it. WSJ10 is defined so.

Every function scores one sentence. A corpus is the sum, ``sum(scores, AttachmentScores())``, where each word weighs
the same, or ``sentence_mean``, where each sentence does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nlpkit.labels.spans import SpanScores
from nlpkit.perturbed_masking.trees.tree import Tree

Scores = TypeVar("Scores", bound="AttachmentScores | SpanScores")


@dataclass(frozen=True)
class AttachmentScores:
    """How many heads are right, in three ways; scores add up.

    Args:
        words: that count.
        directed: words whose predicted head is the gold head.
        undirected: those, and words whose predicted head is one of their gold dependents.
        neutral: those, and words whose predicted head is the gold head of their gold head.

    Example:
        >>> (AttachmentScores(4, 1, 2, 3) + AttachmentScores(6, 4, 4, 4)).uas
        0.5
    """

    words: int = 0
    directed: int = 0
    undirected: int = 0
    neutral: int = 0

    def __add__(self, other: AttachmentScores) -> AttachmentScores:
        return AttachmentScores(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def uas(self) -> float:
        """Unlabelled attachment score, in [0, 1]; 0 without words."""
        return self.directed / self.words if self.words else 0.0

    @property
    def uuas(self) -> float:
        """Undirected unlabelled attachment score, in [0, 1]; 0 without words."""
        return self.undirected / self.words if self.words else 0.0

    @property
    def ned(self) -> float:
        """Neutral edge direction (Schwartz et al., 2011), in [0, 1]; 0 without words."""
        return self.neutral / self.words if self.words else 0.0


def score_heads(
    gold: Sequence[int], predicted: Sequence[int], *, scored: Sequence[bool] | None = None
) -> AttachmentScores:
    """Compare the heads of a sentence.

    Source: UAS and UUAS as usual; NED is Schwartz et al. (2011), "Neutralizing linguistically problematic
    annotations", which also forgives an arc reversed together with the one above it. The root's arc counts like
    any other, as in LividWo/Perturbed-Masking; where the gold root was given to the parser it is always right. That
    code adds a point of UUAS and NED to its right chain wherever the first word is the root, because it attaches the
    root node to it; the 39.9 and 41.2 of the paper have these points, and are 39.84 and 41.13 without.

    Args:
        gold: heads, 1-based, 0 for the root.
        predicted: likewise; a head beyond the sentence is allowed, and wrong.
        scored: which words count; all by default.

    Returns:
        The counts.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> score_heads([2, 0, 2], [2, 0, 1])
        AttachmentScores(words=3, directed=2, undirected=2, neutral=2)
        >>> score_heads([2, 0, 2], [0, 1, 1], scored=[True, True, False])
        AttachmentScores(words=2, directed=0, undirected=1, neutral=2)
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold heads, {len(predicted)} predicted ones; give one prediction per word")
    if scored is not None and len(scored) != len(gold):
        raise ValueError(f"scored has {len(scored)} items for {len(gold)} words; give one per word")
    counts = [0, 0, 0, 0]
    for unit, (right, head) in enumerate(zip(gold, predicted, strict=True), start=1):
        if scored is not None and not scored[unit - 1]:
            continue
        directed = head == right
        undirected = directed or (0 < head <= len(gold) and gold[head - 1] == unit)
        neutral = undirected or (right > 0 and gold[right - 1] == head)
        counts = [count + hit for count, hit in zip(counts, (True, directed, undirected, neutral), strict=True)]
    return AttachmentScores(*counts)


def without_words(heads: Sequence[int], keep: Sequence[bool]) -> list[int]:
    """Take words out of a tree: their dependents attach to the nearest ancestor that stays.

    Args:
        heads: 1-based, 0 for the root.
        keep: which words stay.

    Returns:
        The heads of the words that stay, numbered anew. Where the root went, its first kept descendant is the root
        and the others that reached it attach to that one.

    Raises:
        ValueError: the lengths differ, or the heads form a cycle.

    Example:
        >>> without_words([3, 1, 0, 2], [True, False, True, True])
        [2, 0, 1]
    """
    if len(heads) != len(keep):
        raise ValueError(f"{len(heads)} heads, {len(keep)} flags; give one per word")
    number = {0: 0} | {unit: place for place, unit in enumerate(np.flatnonzero([False, *keep]).tolist(), start=1)}
    shorter = []
    for unit in number:
        head, steps = unit, 0
        while head and (head == unit or head not in number):
            head, steps = heads[head - 1], steps + 1
            if steps > len(heads):
                raise ValueError(f"heads {list(heads)} form a cycle from word {unit}")
        if unit:
            shorter.append(number[head])
    root = shorter.index(0) + 1 if 0 in shorter else 0
    return [head or (0 if place == root else root) for place, head in enumerate(shorter, start=1)]


def score_constituents(gold: Tree, predicted: Tree, *, trivial: bool = False) -> SpanScores:
    """Compare the constituents of a sentence, without labels.

    Args:
        gold: the reference tree; constituents over the same words count once.
        predicted: a tree over the same words.
        trivial: count the constituent over the whole sentence, which every tree has and Wu et al. (2020) leave out:
            it lifts the right branching of WSJ10 by eight points. Single words never count.

    Returns:
        Counts, with precision, recall and F1.

    Raises:
        ValueError: the trees span different words.

    Example:
        >>> from nlpkit.perturbed_masking.trees.constituents import left_branching, right_branching
        >>> score_constituents(left_branching(3), right_branching(3)).f1
        0.0
        >>> score_constituents(left_branching(3), right_branching(3), trivial=True).f1
        0.5
    """
    if (gold.start, gold.end) != (predicted.start, predicted.end):
        raise ValueError(
            f"the gold tree spans words {gold.start} to {gold.end}, the predicted one {predicted.start} to "
            f"{predicted.end}; give trees over the same words"
        )
    wanted, found = gold.spans(trivial=trivial), predicted.spans(trivial=trivial)
    return SpanScores(len(wanted), len(found), len(wanted & found))


def sentence_mean(
    scores: Sequence[Scores], metric: Callable[[Scores], float], *, nothing: float | None = None
) -> float:
    """The mean over sentences, each weighing the same.

    Args:
        scores: one per sentence.
        metric: of one sentence, e.g. ``lambda score: score.f1``.
        nothing: what a sentence scores in which there is nothing to find and nothing was found, such as one of two
            words without trivial constituents. By default it is left out; Wu et al. (2020) count 1.

    Returns:
        The mean; 0 where there is nothing to average.

    Example:
        >>> scores = [SpanScores(1, 1, 1), SpanScores(3, 3, 0), SpanScores(0, 0, 0)]
        >>> sentence_mean(scores, lambda score: score.f1)
        0.5
        >>> round(sentence_mean(scores, lambda score: score.f1, nothing=1.0), 3)
        0.667
    """
    values = [metric(score) if any(astuple(score)) else nothing for score in scores]
    counted = [value for value in values if value is not None]
    return float(np.mean(counted)) if counted else 0.0


class Interval(NamedTuple):
    """A score and the range that it would fall in on other samples of sentences.

    Args:
        value: on the sentences given.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def corpus_interval(
    scores: Sequence[Scores],
    metric: Callable[[Scores], float],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """A corpus score with a bootstrap interval over sentences.

    Source: Efron (1979), percentiles; sentences are drawn, because the words of one are not independent.

    Args:
        scores: counts per sentence.
        metric: of the summed counts, e.g. ``lambda score: score.uas``.
        confidence: probability with which the interval holds, between 0 and 1.
        resamples: how many corpora to draw.
        seed: of the draws.

    Returns:
        The score of the summed counts, and the interval.

    Raises:
        ValueError: no sentences, or ``confidence`` or ``resamples`` out of range.

    Note:
        It says how much the sentences matter, not the model: compare two parsers on the *same* draws by giving both
        the same seed, or look at several seeds of training.

    Example:
        >>> corpus_interval([AttachmentScores(1, 1, 1, 1)] * 5, lambda score: score.uas)
        Interval(value=1.0, low=1.0, high=1.0)
    """
    if not scores:
        raise ValueError("scores is empty; give the counts of at least one sentence")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, resamples {resamples} be 1 or more")
    counts = np.array([astuple(score) for score in scores])  # (sentences, counts)
    kind = type(scores[0])
    drawn = [metric(kind(*row)) for row in (times_drawn(len(scores), resamples, seed) @ counts).tolist()]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(metric(kind(*counts.sum(axis=0).tolist()))), float(low), float(high))


def times_drawn(sentences: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each sentence is in each of the corpora that a bootstrap draws.

    Args:
        sentences: how many there are, at least 1.
        resamples: how many corpora to draw, each as large.
        seed: of the draws.

    Returns:
        Shape ``(resamples, sentences)``.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(sentences, np.full(sentences, 1 / sentences), size=resamples)
