"""Scores of word segmentation by the rules of the SIGHAN bakeoffs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate, pairwise

from nlpkit.labels.spans import SpanScores


@dataclass(frozen=True)
class SegmentationScores(SpanScores):
    """Counts of words, and the scores that follow; counts add up.

    Args:
        gold: words in the references.
        predicted: words in the predictions.
        correct: predicted words that begin and end where a gold word does.
        unseen: gold words that are not in the vocabulary.
        unseen_correct: those of them that were found.

    Example:
        >>> SegmentationScores(gold=4, predicted=5, correct=3, unseen=2, unseen_correct=1).oov_recall
        0.5
    """

    unseen: int = 0
    unseen_correct: int = 0

    def __add__(self, other: SegmentationScores) -> SegmentationScores:
        return SegmentationScores(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def oov_recall(self) -> float:
        """Share of the words outside the vocabulary that were found, in [0, 1]; not a number without such words."""
        return self.unseen_correct / self.unseen if self.unseen else float("nan")

    @property
    def iv_recall(self) -> float:
        """Share of the words in the vocabulary that were found, in [0, 1]; not a number without such words."""
        known = self.gold - self.unseen
        return (self.correct - self.unseen_correct) / known if known else float("nan")


def score_segmentation(
    gold: Sequence[str], predicted: Sequence[str], *, vocabulary: Container[str] | None = None
) -> SegmentationScores:
    """Compare the words of a sentence.

    Source: Sproat and Emerson (2003), the first bakeoff: a word is right when both its ends are. Punctuation counts,
    as it does there. Their script aligns words with ``diff``, and this function by position; on equal text the two
    can differ only where a word stands twice in a row.

    Args:
        gold: words of the reference.
        predicted: words that join to the same characters.
        vocabulary: the words known beforehand, for the bakeoff those of the training text; without it no word counts
            as unseen.

    Returns:
        The counts; add them up over the corpus: ``sum(scores, SegmentationScores(0, 0, 0))``.

    Raises:
        ValueError: the words do not join to the same characters, or one is empty.

    Example:
        >>> score = score_segmentation(["我们", "来", "北京"], ["我们", "来北京"], vocabulary={"来"})
        >>> score.correct, score.oov_recall
        (1, 0.5)
    """
    if "" in gold or "" in predicted:
        raise ValueError("a word is empty; leave empty words out")
    text, other = "".join(gold), "".join(predicted)
    if text != other:
        place = next((at for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), None)
        place = min(len(text), len(other)) if place is None else place
        raise ValueError(
            f"the predicted words do not join to the gold text: they part at character {place}, "
            f"gold {text[place : place + 10]!r}, predicted {other[place : place + 10]!r}"
        )
    wanted, found = word_spans(gold), set(word_spans(predicted))
    hits = [span in found for span in wanted]
    is_unseen = [vocabulary is not None and word not in vocabulary for word in gold]
    unseen_hits = sum(hit and unseen for hit, unseen in zip(hits, is_unseen, strict=True))
    return SegmentationScores(len(wanted), len(found), sum(hits), sum(is_unseen), unseen_hits)


def word_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where each word stands in the text that they join to.

    Args:
        words: of a sentence.

    Returns:
        Half-open ranges of characters.

    Example:
        >>> word_spans(["我们", "来"])
        [(0, 2), (2, 3)]
    """
    return list(pairwise(accumulate(map(len, words), initial=0)))
