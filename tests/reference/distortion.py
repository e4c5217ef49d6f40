"""Contextual distortion by its definition: four passes of the whole model for every span, one sentence at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Words = list[list[int]]


def word_states(model: Any, words: Words, ends: tuple[int, int], layer: int) -> list[NDArray[np.float64]]:
    """The state of each word, the mean over its tokens, between the two special tokens."""
    ids = [ends[0], *(token for word in words for token in word), ends[1]]
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].double().numpy()
    means, position = [], 1
    for word in words:
        means.append(states[position : position + len(word)].mean(axis=0))
        position += len(word)
    return means


def mean_square(one: list[Any], other: list[Any]) -> float:
    return float(np.mean([((a - b) ** 2).sum() for a, b in zip(one, other, strict=True)]))


def naive_distortion(model: Any, words: Words, ends: tuple[int, int], layer: int, mask: int, comma: int) -> Any:
    """The distortion of every span of two words or more but the whole, shape ``(n, n + 1)``."""
    count = len(words)
    table = np.zeros((count, count + 1))
    whole = word_states(model, words, ends, layer)
    for start in range(count):
        for end in range(start + 2, count + 1):
            if end - start == count:
                continue
            left, span, right = words[:start], words[start:end], words[end:]
            scores = []
            found = word_states(model, [*left, [mask], *right], ends, layer)
            scores.append(mean_square(whole[:start] + whole[end:], found[:start] + found[start + 1 :]))
            scores.append(mean_square(whole[start:end], word_states(model, span, ends, layer)))
            for order in (["span", "left", "right"], ["left", "right", "span"]):
                parts = {"left": left, "span": span, "right": right}
                moved: Words = []
                places = {}
                for name in order:
                    if not parts[name]:
                        continue
                    if moved:
                        moved.append([comma])
                    places[name] = (len(moved), len(moved) + len(parts[name]))
                    moved += parts[name]
                found = word_states(model, moved, ends, layer)
                before = {"left": whole[:start], "span": whole[start:end], "right": whole[end:]}
                scores += [mean_square(before[name], found[slice(*place)]) for name, place in places.items()]
            table[start, end] = np.mean(scores)
    return table
