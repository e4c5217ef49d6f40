"""Characters as numbers, and sequences of them as keys."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from nlpkit.perturbed_masking.counts.runs import (
    LONGEST,
    Keys,
    count_sequences,
    find_runs,
    pack,
    without_first,
    without_last,
)
from tests.perturbed_masking.counts.texts import some_texts
from tests.reference import character_links as reference


def spelled(key: int, length: int) -> str:
    codes = [(key >> 21 * place) & ((1 << 21) - 1) for place in reversed(range(length))]
    return "".join(chr(code) if code else reference.BORDER for code in codes)


def as_strings(keys: Keys, counts: np.ndarray, length: int) -> Counter[str]:
    return Counter({spelled(key, length): n for key, n in zip(keys.tolist(), counts.tolist(), strict=True)})


@given(some_texts)
def test_sequences_are_those_that_are_counted_one_by_one(texts: list[str]) -> None:
    codes = find_runs("\n".join(texts)).codes
    for length in range(1, LONGEST + 1):
        keys, counts = count_sequences(codes, length)
        assert (np.diff(keys.astype(object)) > 0).all()
        assert as_strings(keys, counts, length) == reference.count(texts, length)


@given(some_texts)
def test_each_character_knows_its_place(texts: list[str]) -> None:
    text = "，".join(texts)
    codes, places = find_runs(text)
    assert codes[0] == codes[-1] == 0
    assert not ((codes[1:] == 0) & (codes[:-1] == 0)).any()
    assert ((places == -1) == (codes == 0)).all()
    for code, place in zip(codes.tolist(), places.tolist(), strict=True):
        assert place == -1 or text[place] == chr(code)
    assert (codes != 0).sum() == sum(map(len, reference.runs_of(text)))


@pytest.mark.parametrize("text", ["", "abc 12", "\ud800", "😀"])
def test_a_text_without_words_of_several_characters_is_one_border(text: str) -> None:
    assert find_runs(text).codes.tolist() == [0]
    assert [len(count_sequences(find_runs(text).codes, length)[0]) for length in (1, 2, 3)] == [0, 0, 0]


def test_rare_ideographs_count_like_others() -> None:
    """Those beyond the first 65,536 code points."""
    codes = find_runs("𠀀天𠮷").codes
    assert [spelled(key, 3) for key in pack(codes, 3).tolist()] == ["|𠀀天", "𠀀天𠮷", "天𠮷|"]


def test_parts_of_keys() -> None:
    (key,) = pack(np.array([ord(character) for character in "天𠮷好"], dtype=np.uint32), 3).tolist()
    keys = np.array([key], dtype=np.uint64)
    assert spelled(int(without_last(keys)[0]), 2) == "天𠮷"
    assert spelled(int(without_first(keys, 3)[0]), 2) == "𠮷好"
