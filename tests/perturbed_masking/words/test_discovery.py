"""Words found in a corpus."""

from __future__ import annotations

import numpy as np
import pytest

from nlpkit.perturbed_masking.words.discovery import discover_words
from nlpkit.perturbed_masking.words.script import split_characters
from nlpkit.perturbed_masking.words.segmentation import (
    LinkedText,
)


def linked(text: str, strengths: list[float]) -> LinkedText:
    return LinkedText(text, tuple(split_characters(text)), np.array(strengths))


def test_words_of_a_corpus_are_found_by_their_links() -> None:
    rng = np.random.default_rng(0)
    words = ["天气", "酒店", "服务员", "好", "很"]
    texts = []
    for _ in range(200):
        chosen = rng.choice(words, 6)
        strengths = []
        for word in chosen:
            strengths += [float(rng.normal(5, 1.5)) for _ in word[1:]] + [float(rng.normal(2, 1.5))]
        texts.append(linked("".join(chosen), strengths[:-1]))
    found = [candidate.word for candidate in discover_words(texts, min_count=20)]
    assert set(found[:3]) == {"天气", "酒店", "服务员"}


def test_rare_and_loose_sequences_are_no_words() -> None:
    texts = [linked("天气好", [5.0, 1.0])]
    assert [candidate.word for candidate in discover_words(texts, min_count=1)] == ["天气"]
    assert discover_words(texts, min_count=2) == []
    assert discover_words(texts, min_count=1, min_margin=4.0) == []
    with pytest.raises(ValueError, match="longest is 1; a word to discover has at least 2 units"):
        discover_words(texts, longest=1)
