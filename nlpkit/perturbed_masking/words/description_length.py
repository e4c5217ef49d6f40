"""How well words explain texts, without knowing the right ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np


def description_length(texts: Iterable[Iterable[str]]) -> float:
    """What it takes to write down a list of words, and then texts in terms of it: the shorter, the better the words.

    The sum of what both take with the best codes for their own frequencies: each word of the texts by its frequency
    among them, each character of the list, and an end for each of its entries, by its frequency in the list.

    Source: minimum description length (Rissanen, 1978), for words as in Zhikov et al. (2010).

    Args:
        texts: the words of each text.

    Returns:
        Nats per character; not a number without words.

    Note:
        It falls with the number of words, whatever they are. So compare ways to cut texts into words at one number of
        words: each with its own threshold ``MeanWordLength(m)``, for one ``m``.

    Example:
        >>> text = "天气好天气坏天气冷"
        >>> words, pairs = ["天气", "好", "天气", "坏", "天气", "冷"], ["天", "气好", "天", "气坏", "天", "气冷"]
        >>> round(description_length([words]), 2), round(description_length([pairs]), 2)
        (2.41, 2.78)
    """
    words = Counter(word for text in texts for word in text)
    letters: Counter[str] = Counter()
    for word in words:
        letters.update([*word, ""])
    characters = sum(len(word) * count for word, count in words.items())
    return (_code_length(words) + _code_length(letters)) / characters if characters else float("nan")


def _code_length(counts: Counter[str]) -> float:
    numbers = np.array(list(counts.values()), dtype=np.float64)
    return float((numbers * np.log(numbers.sum() / numbers)).sum())
