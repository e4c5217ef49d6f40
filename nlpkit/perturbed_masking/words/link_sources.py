"""Words of texts from any source of links: impact, counts, or a mixture of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Protocol

from nlpkit.perturbed_masking.words.segmentation import LinkedText, Threshold, find_threshold, otsu


class LinkSource(Protocol):
    """What knows how strongly units are linked: ``PerturbedMasking``, ``CountedLinks``, ``MixedLinks``, your own."""

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        """Each text with its units and the strength of the links between neighbours, in order."""


def segment(
    source: LinkSource, texts: Iterable[str], threshold: Threshold = otsu, *, relative: bool = True
) -> list[list[str]]:
    """Words of texts, without a dictionary.

    Args:
        source: of the links.
        texts: texts; words cross neither punctuation nor a change of script.
        threshold: the least strength that holds units together: a number, or what finds one on these very texts,
            ``otsu`` or ``MeanWordLength``.
        relative: take from each strength the mean of those beside it; ``False`` compares the strengths themselves.

    Returns:
        The words of each text; white space is in none.

    Raises:
        TypeError: not texts, or no threshold.

    Example:
        >>> from nlpkit.perturbed_masking import CountedLinks
        >>> segment(CountedLinks.from_pretrained("counts-zh"), ["今天天气不错，我们去公园散步。"])
        [['今天', '天气', '不错', '，', '我们', '去', '公园', '散步', '。']]
    """
    return list(iter_segment(source, texts, threshold, relative=relative, sample=None))


def iter_segment(
    source: LinkSource,
    texts: Iterable[str],
    threshold: Threshold = otsu,
    *,
    relative: bool = True,
    sample: int | None = 1000,
) -> Iterator[list[str]]:
    """As ``segment``, one text at a time and in bounded memory.

    Args:
        source: as for ``segment``.
        texts: as for ``segment``.
        threshold: as for ``segment``.
        relative: as for ``segment``.
        sample: find the threshold on this many texts from the beginning; ``None``: on all, which then stay in memory.
    """
    linked = (text.relative() if relative else text for text in source.linked_texts(texts))
    seen = list(islice(linked, sample)) if callable(threshold) else []
    found = find_threshold(threshold, seen)
    for text in chain(seen, linked):
        yield text.cut(found)
