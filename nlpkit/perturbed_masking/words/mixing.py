"""Several sources of links as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, tee

import numpy as np

from nlpkit.perturbed_masking.words.link_sources import LinkSource
from nlpkit.perturbed_masking.words.segmentation import LinkedText


class MixedLinks:
    """The sum of several sources' links, each divided by how much it varies.

    A cut compares a link with those beside it (``LinkedText.relative``), so what is made equal is the deviation of
    these differences: each source is divided by it, and then has the same say, times its weight. Where all links are
    moved by one number, nothing changes, so this is the sum of z-scores.

    Args:
        sources: two or more, which cut texts into the same units.
        weights: of each; equal by default.
        sample: find the deviations on this many texts from the beginning; ``None``: on all, which then stay in memory.

    Raises:
        ValueError: fewer than two sources, or weights that do not fit them.

    Example:
        >>> from nlpkit.perturbed_masking import CountedLinks, PerturbedMasking, segment
        >>> impact = PerturbedMasking.from_pretrained("wobert-mini-zh", show_progress=False)
        >>> both = MixedLinks([CountedLinks.from_pretrained("counts-zh"), impact])
        >>> segment(both, ["今天天气不错，我们去公园散步。"])
        [['今天', '天气', '不错', '，', '我们', '去', '公园', '散步', '。']]
    """

    def __init__(
        self, sources: Sequence[LinkSource], weights: Sequence[float] | None = None, *, sample: int | None = 1000
    ) -> None:
        weights = [1.0] * len(sources) if weights is None else list(weights)
        if len(sources) < 2:
            raise ValueError(f"{len(sources)} source is nothing to mix; give two or more")
        if len(weights) != len(sources) or not all(weight >= 0 for weight in weights) or not any(weights):
            raise ValueError(f"weights={weights} do not fit {len(sources)} sources; give one per source, 0 or more")
        self.sources, self.weights, self.sample = list(sources), weights, sample
        self._factors: list[float] | None = None

    def fit(self, texts: Iterable[str]) -> MixedLinks:
        """The same mixture with the deviations on these texts, whatever texts it is given later.

        Args:
            texts: a sample of them.
        """
        fitted = MixedLinks(self.sources, self.weights, sample=self.sample)
        fitted._factors = self._find_factors(list(self._rows(texts)))
        return fitted

    def linked_texts(self, texts: Iterable[str]) -> Iterator[LinkedText]:
        """Texts with the mixed strengths of their links.

        Raises:
            TypeError: ``texts`` is one text.
            ValueError: the sources cut a text into different units.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts is one text, {texts[:20]!r}; give a list of them")
        rows = self._rows(texts)
        seen = list(islice(rows, self.sample)) if self._factors is None else []
        factors = self._find_factors(seen) if self._factors is None else self._factors
        for row in chain(seen, rows):
            if any(one.spans != row[0].spans for one in row):
                raise ValueError(
                    f"the sources cut {row[0].text[:20]!r} into different units; give units='characters' to a model "
                    "that is mixed with counts"
                )
            mixed = sum(factor * one.strengths for factor, one in zip(factors, row, strict=True))
            borders = [factor * one.border for factor, one in zip(factors, row, strict=True) if one.border is not None]
            border = sum(borders) if len(borders) == len(row) else None
            yield replace(row[0], strengths=np.asarray(mixed, dtype=np.float64), border=border)

    def _rows(self, texts: Iterable[str]) -> Iterator[tuple[LinkedText, ...]]:
        """Each text with the links of all sources."""
        copies = tee(texts, len(self.sources))
        return zip(*(one.linked_texts(copy) for one, copy in zip(self.sources, copies, strict=True)), strict=True)

    def _find_factors(self, rows: list[tuple[LinkedText, ...]]) -> list[float]:
        columns = zip(*rows, strict=True)
        return [
            weight / (deviation(column) or 1.0) for weight, column in zip(self.weights, columns, strict=bool(rows))
        ]


def deviation(texts: Iterable[LinkedText]) -> float:
    """How much the links of texts differ from those beside them: the standard deviation of the relative strengths.

    Args:
        texts: with the links of one source.

    Returns:
        0 where there are no links.

    Example:
        >>> spans = tuple((place, place + 1) for place in range(4))
        >>> deviation([LinkedText("天气很好", spans, np.array([3.0, 0.0, 3.0]))])
        2.8...
    """
    runs = [run for text in texts for run in text.relative().runs()]
    return float(np.concatenate(runs).std()) if runs else 0.0
