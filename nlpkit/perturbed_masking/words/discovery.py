"""New words out of a corpus: sequences whose units are linked to each other and not to what stands around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from nlpkit.perturbed_masking.words.segmentation import LinkedText
from nlpkit.wobert.words.segmenters import Segmenter
from nlpkit.wobert.words.vocabulary import count_tokens


class Candidate(NamedTuple):
    """A sequence of units that may be a word.

    Args:
        word: its text.
        occurrences: those beside something that it could join; an occurrence between two marks says nothing.
        inner: its weakest link, on average over the occurrences.
        outer: the stronger of the links to its two neighbours, on average.
    """

    word: str
    occurrences: int
    inner: float
    outer: float

    @property
    def margin(self) -> float:
        """By how much its links inside exceed those to what stands around it."""
        return self.inner - self.outer


def discover_words(
    texts: Iterable[LinkedText], *, longest: int = 4, min_count: int = 5, min_margin: float = 0.0
) -> list[Candidate]:
    """Sequences of two units or more that behave like words over a whole corpus.

    One occurrence says little; averaged over many, the links inside a word are stronger than those at its borders.

    Source: the impact of neighbours on each other (kexue.fm/archives/7476), averaged over a corpus.

    Args:
        texts: the corpus, as ``PerturbedMasking.linked_texts`` gives it.
        longest: units of the longest candidate.
        min_count: rarer candidates are left out.
        min_margin: candidates whose ``Candidate.margin`` is not above this are left out, in the unit of the distance.

    Returns:
        The words, the widest margin first. Punctuation and changes of script are inside none.

    Raises:
        ValueError: ``longest`` is below 2.

    Note:
        Memory grows with the number of different sequences in the corpus.

    Example:
        >>> import numpy as np
        >>> text = "他在酒店，酒店好"
        >>> strengths = np.array([1.0, 2.0, 6.0, 0.0, 0.0, 5.0, 1.0])
        >>> linked = LinkedText(text, tuple((place, place + 1) for place in range(8)), strengths)
        >>> discover_words([linked], min_count=2)
        [Candidate(word='酒店', occurrences=2, inner=5.5, outer=1.5)]
    """
    if longest < 2:
        raise ValueError(f"longest is {longest}; a word to discover has at least 2 units")
    sums: dict[str, list[float]] = {}
    for text in texts:
        for word, inner, outer in _sequences(text, longest):
            entry = sums.setdefault(word, [0, 0.0, 0.0])
            entry[0] += 1
            entry[1] += inner
            entry[2] += outer
    candidates = (
        Candidate(word, int(count), inner / count, outer / count)
        for word, (count, inner, outer) in sums.items()
        if count >= min_count
    )
    found = [candidate for candidate in candidates if candidate.margin > min_margin]
    return sorted(found, key=lambda candidate: -candidate.margin)


def tokens_per_character(texts: Iterable[str], vocabulary: Mapping[str, int], segmenter: Segmenter) -> float:
    """Tokens of a word vocabulary per character: the number that new words should lower.

    Args:
        texts: other texts than those the words were found in.
        vocabulary: token to id, with ``[UNK]``.
        segmenter: text to words; it must know the new words too (``JiebaSegmenter.from_words``).

    Returns:
        Tokens divided by characters, white space left out; 0 without characters.

    Example:
        >>> from nlpkit.wobert.words.segmenters import RjiebaSegmenter
        >>> tokens_per_character(["天气好"], {"[UNK]": 0, "天气": 1, "好": 2}, RjiebaSegmenter())
        0.666...
    """
    kept = list(texts)
    characters = sum(not character.isspace() for text in kept for character in text)
    return sum(count_tokens(kept, vocabulary, segmenter).values()) / characters if characters else 0.0


def _sequences(text: LinkedText, longest: int) -> Iterator[tuple[str, float, float]]:
    """Every sequence of a text that could be a word, its weakest inner link and its strongest outer one."""
    joints = text.joints()
    spans = [span for _, span in joints]
    ties = [*(tie for tie, _ in joints), None]  # nothing ties the last unit to a next one
    for first in range(len(spans)):
        inner = float("inf")
        for last in range(first + 1, min(first + longest, len(spans))):
            tie = ties[last]
            if tie is None:
                break
            inner = min(inner, tie)
            around = [outer for outer in (ties[first], ties[last + 1]) if outer is not None]
            if around:
                yield text.text[spans[first][0] : spans[last][1]], inner, max(around)
