"""Description length against a count by hand, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nlpkit.perturbed_masking import MeanWordLength, description_length
from nlpkit.perturbed_masking.words.script import split_characters
from nlpkit.perturbed_masking.words.segmentation import LinkedText


def test_it_is_the_length_of_texts_and_of_the_list_of_words() -> None:
    # Texts: 天气 twice and 好 once. List: 天, 气, 好 and two ends.
    texts = 2 * math.log(3 / 2) + math.log(3)
    entries = 3 * math.log(5) + 2 * math.log(5 / 2)
    assert description_length([["天气", "好"], ["天气"], []]) == pytest.approx((texts + entries) / 5)
    assert math.isnan(description_length([])) and math.isnan(description_length([[]]))


def test_at_one_number_of_words_the_better_links_take_less() -> None:
    """Without any label: the more noise there is on links that know the words, the longer the description."""
    rng = np.random.default_rng(0)
    alphabet = [chr(code) for code in range(0x4E00, 0x4E00 + 60)]
    words = ["".join(rng.choice(alphabet, rng.integers(1, 4))) for _ in range(80)]
    lengths = []
    for noise in (0.0, 0.5, 1.0, 3.0):
        linked = []
        for _ in range(150):
            chosen = rng.choice(words, 12)
            text = "".join(chosen)
            inside = np.concatenate([[0.0, *[1.0] * (len(word) - 1)] for word in chosen])[1:]
            linked.append(LinkedText(text, tuple(split_characters(text)), inside + rng.normal(0, noise, len(inside))))
        threshold = MeanWordLength(2.0)([run for text in linked for run in text.runs()])
        lengths.append(description_length(text.cut(threshold) for text in linked))
    assert lengths == sorted(lengths)
