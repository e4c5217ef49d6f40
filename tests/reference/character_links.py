"""Counts of characters and the links that follow, one sequence at a time, from the formulas alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

BORDER = "|"


def runs_of(text: str) -> list[str]:
    """Runs of Chinese characters and of kana, for texts of the tests' few characters."""
    return re.findall("[今天气好很酒店]+|[カナ]+", text)


def count(texts: Iterable[str], length: int) -> Counter[str]:
    """Sequences of so many characters; at either end, one may be the border."""
    counts: Counter[str] = Counter()
    for text in texts:
        for run in runs_of(text):
            bordered = BORDER + run + BORDER
            for begin in range(len(bordered) - length + 1):
                sequence = bordered[begin : begin + length]
                if sequence.strip(BORDER):
                    counts[sequence] += 1
    return counts


def entropy(neighbours: Counter[str]) -> float:
    """Of a distribution given by counts, in nats."""
    total = sum(neighbours.values())
    return -sum(one / total * math.log(one / total) for one in neighbours.values())


def right_entropy(sequence: str, counts: Counter[str]) -> float:
    """Of what follows a sequence."""
    return entropy(Counter({other[-1]: n for other, n in counts.items() if other[:-1] == sequence}))


def left_entropy(sequence: str, counts: Counter[str]) -> float:
    """Of what precedes a sequence."""
    return entropy(Counter({other[0]: n for other, n in counts.items() if other[1:] == sequence}))


def links(run: str, corpus: list[str], min_count: int, borders: float) -> list[float]:
    """The links inside a run of characters that the corpus knows, but for pairs that are rarer than ``min_count``."""
    ones, twos, threes = (count(corpus, length) for length in (1, 2, 3))
    total = sum(ones.values())
    text = BORDER + run + BORDER
    found = []
    for place in range(1, len(run)):
        before, x, y, after = text[place - 1 : place + 3]
        seen = twos[x + y] if twos[x + y] >= min_count else 0
        information = math.log((seen + 0.5) / (ones[x] * ones[y] / total + 0.5))
        uncertain = right_entropy(x, twos) + left_entropy(y, twos)
        uncertain += right_entropy(before + x, threes) if twos[before + x] >= min_count else right_entropy(x, twos)
        uncertain += left_entropy(y + after, threes) if twos[y + after] >= min_count else left_entropy(y, twos)
        found.append(information - borders * uncertain / 2)
    return found
