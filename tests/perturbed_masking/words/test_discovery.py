"""Words found in a corpus."""

from __future__ import annotations

import re
import tracemalloc
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch

from nlpkit.perturbed_masking import CountedLinks
from nlpkit.perturbed_masking.words import discovery
from nlpkit.perturbed_masking.words.discovery import discover_words
from nlpkit.perturbed_masking.words.script import split_characters
from nlpkit.perturbed_masking.words.segmentation import LinkedText


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
    with pytest.raises(ValueError, match="longest=1: give a whole number at least 2; a word to discover has"):
        discover_words(texts, longest=1)


def sequences(text: LinkedText, longest: int) -> list[tuple[str, float, float]]:
    """All sequences of one text, one by one."""
    ties, spans = [*text.ties().tolist(), np.nan], text.spans
    found = []
    for first in range(len(spans)):
        for last in range(first + 1, min(first + longest, len(spans))):
            inside, around = ties[first + 1 : last + 1], [ties[first], ties[last + 1]]
            around = [one for one in around if one == one]
            if all(one == one for one in inside) and around:
                found.append((text.text[spans[first][0] : spans[last][1]], min(inside), max(around)))
    return found


@given(st.lists(st.text("天气好，a ", max_size=9), max_size=6), st.integers(2, 5), st.integers(0, 99))
def test_figures_are_means_over_the_occurrences(texts: list[str], longest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corpus = [linked(text, rng.normal(size=max(len(split_characters(text)) - 1, 0)).tolist()) for text in texts]
    expected: dict[str, list[tuple[float, float]]] = {}
    for text in corpus:
        for word, inner, outer in sequences(text, longest):
            expected.setdefault(word, []).append((inner, outer))
    found = discover_words(corpus, longest=longest, min_count=1, min_margin=-np.inf)
    assert {one.word for one in found} == set(expected)
    for one in found:
        assert one.occurrences == len(expected[one.word]) and one.missed == 0
        np.testing.assert_allclose([one.inner, one.outer], np.mean(expected[one.word], axis=0), atol=1e-12)


@given(st.lists(st.lists(st.sampled_from("天气好很大"), min_size=3, max_size=9), max_size=30), st.integers(1, 40))
@settings(max_examples=50)
def test_with_little_memory_counts_are_within_the_stated_bounds(texts: list[list[str]], most: int) -> None:
    corpus = [linked("".join(text), [1.0] * (len(text) - 1)) for text in texts]
    exact = {one.word: one.occurrences for one in discover_words(corpus, min_count=1, min_margin=-np.inf, longest=3)}
    with warnings.catch_warnings(record=True) as caught, MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(discovery, "_UNITS_AT_ONCE", 20)
        found = discover_words(corpus, min_count=1, min_margin=-np.inf, longest=3, most_sequences=most)
    for one in found:
        assert one.occurrences <= exact[one.word] <= one.occurrences + one.missed
    if not caught:
        assert {one.word: one.occurrences for one in found} == exact
        return
    floor = int(re.findall(r"words of up to (\d+) occurrences may be missing", str(caught[0].message))[0])
    assert {word for word, count in exact.items() if count > floor} <= {one.word for one in found}


def test_a_corpus_of_any_size_fits_into_memory() -> None:
    """Random characters, of which hardly any sequence comes twice: what is held does not grow with the corpus."""
    rng = np.random.default_rng(0)

    def corpus(size: int) -> Iterator[LinkedText]:
        for _ in range(size // 100):
            text = "".join(map(chr, rng.integers(0x4E00, 0x9000, 100)))
            yield linked(text, rng.normal(size=99).tolist())

    def peak(size: int) -> int:
        tracemalloc.start()
        discover_words(corpus(size), min_count=10, most_sequences=4_000)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(80_000) < 1.2 * peak(40_000) < 30_000_000
    with pytest.raises(ValueError, match="most_sequences=0: give a whole number at least 1"):
        discover_words([], most_sequences=0)


@pytest.mark.parametrize("processes", [1, 2])
def test_texts_are_linked_where_they_are_read(processes: int) -> None:
    links = CountedLinks.from_pretrained("counts-zh", show_progress=False)
    texts = ["今天天气不错，我们去公园散步。", "", "天气不错", "去公园"] * 9
    expected = discover_words(links.linked_texts(texts), min_count=2)
    found = discover_words(texts, source=links, processes=processes, min_count=2)
    assert [(one.word, one.occurrences) for one in found] == [(one.word, one.occurrences) for one in expected]
    np.testing.assert_allclose([one.margin for one in found], [one.margin for one in expected], rtol=1e-12)


def test_texts_without_links_want_a_source() -> None:
    with pytest.raises(TypeError, match="'今天天气' comes without links; give source= to find them"):
        discover_words(["今天天气"])
    with pytest.raises(ValueError, match="give source= and texts as they stand"):
        discover_words([linked("天气", [1.0])], processes=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, "min_count=0: give a finite number at least 1"),
        ({"min_count": -1}, "min_count=-1: give a finite number at least 1"),
        ({"longest": 2.5}, "longest=2.5: give a whole number at least 2"),
        ({"most_sequences": 1.5}, "most_sequences=1.5: give a whole number at least 1"),
    ],
)
def test_numbers_that_count_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        discover_words([], **settings)
