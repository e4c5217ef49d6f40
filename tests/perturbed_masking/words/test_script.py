"""Kinds of characters, and where words may not join."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nlpkit.perturbed_masking.words.script import kind_of, may_join, split_characters


@given(st.text(max_size=40))
def test_characters_never_mix_kinds(text: str) -> None:
    for start, end in split_characters(text):
        kinds = {kind_of(character) for character in text[start:end]}
        assert len(kinds) == 1 or kinds == {"digit", "punctuation"}


def test_words_may_not_join_over_marks_spaces_and_scripts() -> None:
    text = "天气,好GPT4 天カ"
    spans = split_characters(text)
    joined = [may_join(text, left, right) for left, right in pairwise(spans)]
    assert [text[start:end] for start, end in spans] == ["天", "气", ",", "好", "GPT", "4", "天", "カ"]
    assert joined == [True, False, False, False, False, False, False]
