"""How often a word vocabulary's tokens, and single characters, occur in a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from nlpkit.scale import Engine, characters_of, engine_of, parts_of
from nlpkit.wobert.words.segmenters import RjiebaSegmenter, Segmenter
from nlpkit.wobert.words.word_splitter import WordSplitter

_CHARACTERS_AT_ONCE = 1 << 18


def count_tokens(
    texts: Iterable[str],
    tokens: Iterable[str] | Mapping[str, int],
    segmenter: Segmenter | None = None,
    *,
    processes: int | Engine = 1,
) -> Counter[str]:
    """How often each token of a vocabulary occurs in texts.

    Args:
        texts: raw texts.
        tokens: the vocabulary, with ``[UNK]``.
        segmenter: text to words; jieba's dictionary by default.
        processes: that count, or an engine, such as ``RayData()`` for ``TextFiles``; the counts are the same with any.

    Returns:
        Counts of all tokens of the vocabulary, zeros included.

    Example:
        >>> count_tokens(["天气，天"], ["[UNK]", "天气", "天"])
        Counter({'[UNK]': 1, '天气': 1, '天': 1})
    """
    return count_tokens_and_characters(texts, tokens, segmenter, processes=processes).tokens


class TokensAndCharacters(NamedTuple):
    """Counts of both."""

    tokens: Counter[str]
    characters: Counter[str]  #: as they stand in the texts


def count_tokens_and_characters(
    texts: Iterable[str],
    tokens: Iterable[str] | Mapping[str, int],
    segmenter: Segmenter | None = None,
    *,
    processes: int | Engine = 1,
) -> TokensAndCharacters:
    """As ``count_tokens``, and how often each character occurs."""
    names = list(tokens)
    counter = _Counter(names, segmenter)
    total, characters = np.zeros(len(names), np.int64), Counter[str]()
    with tqdm(desc="counting tokens", unit=" texts", unit_scale=True, delay=5) as bar:
        parts = parts_of(texts, characters_of(_CHARACTERS_AT_ONCE))
        for part, (counts, seen) in engine_of(processes).map(parts, counter):
            total += counts
            characters.update(seen)
            bar.update(len(part))
    return TokensAndCharacters(Counter(dict(zip(names, total.tolist(), strict=True))), characters)


def splitter_for(tokens: Iterable[str], segmenter: Segmenter | None) -> WordSplitter:
    """Cuts texts into these tokens, numbered in their order, with ``[UNK]`` among them."""
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return WordSplitter(vocabulary, vocabulary["[UNK]"], segmenter or RjiebaSegmenter())


@dataclass(frozen=True)
class _Counter:
    """Counts a part; a process makes the splitter once."""

    names: list[str]
    segmenter: Segmenter | None

    def __call__(self) -> Callable[[list[str]], tuple[np.ndarray, Counter[str]]]:
        return partial(_count, splitter_for(self.names, self.segmenter), len(self.names))


def _count(splitter: WordSplitter, size: int, part: list[str]) -> tuple[np.ndarray, Counter[str]]:
    ids = np.fromiter((number for text in part for number in splitter.ids(text)), np.int64)
    characters = Counter[str]()
    for text in part:
        characters.update(text)
    return np.bincount(ids, minlength=size), characters
