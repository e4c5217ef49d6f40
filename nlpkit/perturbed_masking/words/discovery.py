"""New words out of a corpus: sequences whose units are linked to each other and not to what stands around them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from nlpkit.checked_number import checked_number
from nlpkit.perturbed_masking.words.link_sources import LinkSource
from nlpkit.perturbed_masking.words.segmentation import LinkedText
from nlpkit.scale import Engine, characters_of, engine_of, parts_of
from nlpkit.wobert.words.segmenters import Segmenter
from nlpkit.wobert.words.token_counts import count_tokens

_UNITS_AT_ONCE = 1 << 14
Floats = NDArray[np.float64]


class Candidate(NamedTuple):
    """A sequence of units that may be a word.

    Args:
        word: its text.
        occurrences: those beside something that it could join; an occurrence between two marks says nothing.
        inner: its weakest link, on average over the occurrences.
        outer: the stronger of the links to its two neighbours, on average.
        missed: earlier occurrences that may have been forgotten to save memory, at most; they are in no other figure.
    """

    word: str
    occurrences: int
    inner: float
    outer: float
    missed: int = 0

    @property
    def margin(self) -> float:
        """By how much its links inside exceed those to what stands around it."""
        return self.inner - self.outer


def discover_words(
    texts: Iterable[LinkedText] | Iterable[str],
    *,
    source: LinkSource | None = None,
    processes: int | Engine = 1,
    longest: int = 4,
    min_count: int = 5,
    min_margin: float = 0.0,
    most_sequences: int = 4_000_000,
) -> list[Candidate]:
    """Sequences of two units or more that behave like words over a whole corpus.

    One occurrence says little; averaged over many, the links inside a word are stronger than those at its borders.

    Source: the impact of neighbours on each other (kexue.fm/archives/7476), averaged over a corpus.

    Args:
        texts: the corpus, as ``linked_texts`` of ``PerturbedMasking``, ``CountedLinks`` or ``MixedLinks`` gives it;
            with ``source``, as it stands.
        source: of the links, where they are to be found in several processes; it is sent to all of them.
        processes: that do so, or an engine, such as ``RayData()`` for ``TextFiles``; the words are the same with any.
        longest: units of the longest candidate.
        min_count: rarer candidates are left out.
        min_margin: candidates whose ``Candidate.margin`` is not above this are left out, in the unit of the links.
        most_sequences: different sequences to hold in memory. When there are more, the rarest are dropped, as in
            ``LossyCounts``: every sequence that occurs more often than the most frequent one dropped is still there.

    Returns:
        The words, the widest margin first. Punctuation and changes of script are inside none.

    Raises:
        TypeError: texts without links, and no ``source``; or ``longest`` or ``most_sequences`` is no whole number.
        ValueError: ``longest`` is below 2, ``min_count`` or ``most_sequences`` below 1, or several processes without
            ``source``.

    Warns:
        UserWarning: memory did not suffice to find every word of ``min_count`` occurrences; the message says from how
            many on none is missing.

    Note:
        About 250 bytes per sequence held: at most 1 GB by default. A million characters take about six seconds,
        besides what their links take.

    Example:
        >>> import numpy as np
        >>> text = "他在酒店，酒店好"
        >>> strengths = np.array([1.0, 2.0, 6.0, 0.0, 0.0, 5.0, 1.0])
        >>> linked = LinkedText(text, tuple((place, place + 1) for place in range(8)), strengths)
        >>> discover_words([linked], min_count=2)
        [Candidate(word='酒店', occurrences=2, inner=5.5, outer=1.5, missed=0)]
    """
    checked_number("longest", longest, least=2, whole=True, hint="a word to discover has at least 2 units")
    checked_number("min_count", min_count, least=1)
    checked_number("most_sequences", most_sequences, least=1, whole=True)
    sums = _Sums(most_sequences)
    for found in _found(texts, source, processes, longest):
        sums.add(found)
    if sums.floor >= min_count:
        warnings.warn(
            f"most_sequences={most_sequences} did not suffice for min_count={min_count}: words of up to {sums.floor} "
            "occurrences may be missing, those of more are all there; raise either",
            stacklevel=2,
        )
    return sorted(sums.candidates(min_count, min_margin), key=lambda candidate: -candidate.margin)


class _Found(NamedTuple):
    """Different sequences of some texts, with sums over their occurrences."""

    words: list[str]
    occurrences: Floats
    inner: Floats
    outer: Floats


class _Sums:
    """Sums over occurrences of sequences; the rarest are dropped when there are too many, as in ``LossyCounts``."""

    def __init__(self, most: int) -> None:
        self.most, self.floor = most, 0
        self._numbers: dict[str, int] = {}
        #: Occurrences, those that may be missed, and the sums of inner and outer links; with room for more sequences.
        self._figures = np.zeros((4, 1024))

    def add(self, found: _Found) -> None:
        """Add sequences that were found."""
        held = len(self._numbers)
        numbers = [self._numbers.setdefault(word, len(self._numbers)) for word in found.words]
        size = len(self._numbers)
        if size > self._figures.shape[1]:
            self._figures = np.pad(self._figures, ((0, 0), (0, size)))
        self._figures[1, held:size] = self.floor
        for row, values in ((0, found.occurrences), (2, found.inner), (3, found.outer)):
            self._figures[row, numbers] += values
        if size > self.most:
            self._drop_rarest(max(self.most * 3 // 4, 1))

    def candidates(self, min_count: int, min_margin: float) -> Iterator[Candidate]:
        """Those of enough occurrences and with a wide enough margin."""
        counts, missed, inner, outer = self._figures[:, : len(self._numbers)]
        inner, outer = inner / counts, outer / counts
        chosen = (counts >= min_count) & (inner - outer > min_margin)
        figures = zip(*(values[chosen].tolist() for values in (counts, inner, outer, missed)), strict=True)
        words = (word for word, wanted in zip(self._numbers, chosen.tolist(), strict=True) if wanted)
        for word, (count, within, around, forgotten) in zip(words, figures, strict=True):
            yield Candidate(word, int(count), within, around, int(forgotten))

    def _drop_rarest(self, kept: int) -> None:
        most = self._figures[:2, : len(self._numbers)].sum(axis=0)
        place = len(most) - kept - 1
        self.floor = max(self.floor, int(np.partition(most, place)[place]))
        stays = most > self.floor
        words = [word for word, held in zip(self._numbers, stays.tolist(), strict=True) if held]
        self._numbers = {word: number for number, word in enumerate(words)}
        self._figures = np.pad(self._figures[:, : len(stays)][:, stays], ((0, 0), (0, len(words))))


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


def _found(
    texts: Iterable[LinkedText] | Iterable[str], source: LinkSource | None, processes: int | Engine, longest: int
) -> Iterator[_Found]:
    """What is found in a part of the texts after the other."""
    if source is None:
        if processes != 1:
            raise ValueError(
                "give source= and texts as they stand: links that are found already were not found by processes="
            )
        yield from (_sequences(batch, longest) for batch in _batches(map(_linked, texts)))
        return
    parts = parts_of(cast("Iterable[str]", texts), characters_of(_UNITS_AT_ONCE))
    with tqdm(desc="looking for words", unit=" texts", unit_scale=True, delay=5) as bar:
        for part, found in engine_of(processes).map(parts, partial(_finder, source, longest)):
            yield found
            bar.update(len(part))


def _linked(text: LinkedText | str) -> LinkedText:
    if not isinstance(text, LinkedText):
        raise TypeError(f"{str(text)[:20]!r} comes without links; give source= to find them, or texts with them")
    return text


def _finder(source: LinkSource, longest: int) -> Callable[[list[str]], _Found]:
    return lambda part: _sequences(list(source.linked_texts(part)), longest)


def _batches(texts: Iterable[LinkedText]) -> Iterator[list[LinkedText]]:
    batch: list[LinkedText] = []
    units = 0
    for text in texts:
        batch.append(text)
        units += len(text.spans)
        if units >= _UNITS_AT_ONCE:
            yield batch
            batch, units = [], 0
    yield batch


def _sequences(texts: Sequence[LinkedText], longest: int) -> _Found:
    """Every sequence that could be a word: its weakest inner link and its strongest outer one, added up."""
    joined = "".join(text.text for text in texts)
    shifts = np.cumsum([0, *(len(text.text) for text in texts)])
    shifted = zip(texts, shifts, strict=False)
    spans = np.concatenate(
        [
            np.zeros((0, 2), np.int64),
            *(np.array(text.spans, np.int64).reshape(-1, 2) + shift for text, shift in shifted),
        ]
    )
    ties = np.concatenate([*(text.ties() for text in texts), [np.nan]])  # nothing ties the last unit to a next one
    known: dict[str, int] = {}
    numbers: list[int] = []
    links: list[Floats] = []
    inner = ties[1:]
    for length in range(2, min(longest, len(spans)) + 1):
        firsts = np.arange(len(spans) - length + 1)
        inner = ties[1:-1] if length == 2 else np.minimum(inner[:-1], ties[length - 1 : -1])
        outer = np.fmax(ties[firsts], ties[firsts + length])
        chosen = np.flatnonzero(~np.isnan(inner) & ~np.isnan(outer))
        begins, ends = spans[chosen, 0].tolist(), spans[chosen + length - 1, 1].tolist()
        numbers += [known.setdefault(joined[begin:end], len(known)) for begin, end in zip(begins, ends, strict=True)]
        links.append(np.array([inner[chosen], outer[chosen]]))
    both = np.concatenate([np.zeros((2, 0)), *links], axis=1)
    sums = np.array([np.bincount(numbers, weights, len(known)) for weights in (np.ones(len(numbers)), *both)])
    return _Found(list(known), *sums)
