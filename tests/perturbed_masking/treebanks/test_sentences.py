"""Sentences of treebanks: what they hold, and what they refuse."""

from __future__ import annotations

import pytest

from nlpkit.perturbed_masking.treebanks.sentences import Sentence, Word


def test_sentences_are_not_made_of_what_cannot_be_written() -> None:
    with pytest.raises(ValueError, match=r"form 'a\\tb' cannot be written"):
        Sentence.of(["a\tb"])
    with pytest.raises(ValueError, match=r"heads \[2, 1\] form a cycle of the words \[1, 2\]; give a tree"):
        Sentence.of(["a", "b"]).with_heads([2, 1])
    with pytest.raises(ValueError, match="do not fit a sentence of 1 words"):
        Sentence.of(["a"]).with_heads([2])
    with pytest.raises(ValueError, match=r"word 1 \('a'\) has no head"):
        _ = Sentence.of(["a"]).heads


def test_sentences_in_a_text_remember_where_words_touch() -> None:
    sentence = Sentence.in_text(" 我  来 了。", [(1, 2), (4, 5), (6, 7), (7, 8)])
    assert sentence.forms == ["我", "来", "了", "。"]
    assert [word.misc for word in sentence.words] == ["_", "_", "SpaceAfter=No", "_"]
    assert sentence.comments == ("# text = 我 来 了。",)
    with pytest.raises(ValueError, match=r"form 'a\\tb' cannot be written"):
        Sentence.in_text("a\tb", [(0, 3)])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (Word("。", upos="PUNCT"), True),
        (Word("。", upos="_", xpos="PU"), True),
        (Word("。", upos="PU", xpos="PU"), True),
        (Word(".", xpos="."), True),
        (Word("``", xpos="``"), True),
        (Word("%", upos="SYM", xpos="PU"), False),
        (Word("_____", upos="NN", xpos="NN"), False),
        (Word("$", xpos="$"), False),
        (Word("……"), True),
        (Word("》、"), True),
        (Word("%"), False),
        (Word("好"), False),
    ],
)
def test_punctuation_is_what_the_tag_says_and_without_one_what_the_form_is(word: Word, expected: bool) -> None:
    assert word.is_punctuation is expected
