from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from nlpkit.pet.clozes.label_questions import words_and_labels
from nlpkit.pet.clozes.pattern import Pattern
from nlpkit.pet.clozes.verbalizer import Verbalizer
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

PATTERN = Pattern("{mask}满意。{text}")


def test_settings_make_the_same_verbalizer_again() -> None:
    verbalizer = Verbalizer(
        {"a": ["很", "非常"], "b": [("不", "好")]}, order="left_to_right", length_normalization="none", aggregate="max"
    )
    again = Verbalizer(**verbalizer.to_dict())
    assert again.to_dict() == verbalizer.to_dict()
    assert again.words == {"a": (("很",), ("非常",)), "b": (("不", "好"),)}


def test_a_word_of_the_vocabulary_is_one_token_and_others_are_several(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    words = Verbalizer({"a": ["满意", "不好"], "b": "时随"}).tokenized(tokenizer, PATTERN)
    ids = small_vocabulary
    # A segmenter would never leave 时随 whole, but as a label word it was meant whole.
    assert [word.flat for word in words] == [(ids["满意"],), (ids["不"], ids["好"]), (ids["时随"],)]
    assert [word.label for word in words] == [0, 0, 1]
    assert [word.mask_counts for word in words] == [(1,), (2,), (1,)]


def test_a_word_has_a_part_for_each_slot(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    pattern = Pattern("{mask}{text}{mask}")
    (first, _) = Verbalizer({"a": [("很", "不好")], "b": [("不", "好")]}).tokenized(tokenizer, pattern)
    assert first.mask_counts == (1, 2)
    with pytest.raises(ValueError, match="has 2 slots, but the label word '很' has 1 parts"):
        Verbalizer({"a": "很", "b": "不"}).tokenized(tokenizer, pattern)


def test_subword_markers_do_not_become_tokens_of_label_words(shared_models: Path) -> None:
    sentencepiece = AutoTokenizer.from_pretrained(shared_models / "zh-en-minilm-l12-h384")
    words = Verbalizer({"a": ["很", "不满意"], "b": "非常"}).tokenized(sentencepiece, PATTERN)
    assert [sentencepiece.convert_ids_to_tokens(list(word.flat)) for word in words] == [
        ["很"],
        ["不", "满意"],
        ["非常"],
    ]
    after_space = Verbalizer({"a": "great", "b": "bad"}).tokenized(sentencepiece, Pattern("{text} It was {mask} ."))
    assert [sentencepiece.convert_ids_to_tokens(list(word.flat)) for word in after_space] == [["▁great"], ["▁bad"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"a": "很"}, "at least two labels"),
        ({"a": "很", "b": []}, "label 'b' has no words"),
        ({"a": "很", "b": ""}, "label 'b' has no words, or an empty one"),
        ({"a": ["很", "好"], "b": ["好", "很"]}, "labels 'a' and 'b' have the same words"),
    ],
)
def test_words_that_tell_nothing_apart_are_refused(words: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Verbalizer(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"a": "很，好", "b": "不"},
            r"label word '很，好' holds a comma and is read as one word; .* list: \['很', '好'\]",
        ),
        ({"a": "很、好", "b": "不"}, r"label word '很、好' holds a comma"),
        (
            {"a": ["很", "好"], "b": ["不", "好"]},
            "label word '好' stands under both 'a' and 'b', which it does not tell",
        ),
        ({"a": ["很", "Hello"], "b": ["不", "hello"]}, "label word 'hello' stands under both 'a' and 'b'"),
    ],
)
def test_words_that_are_likely_slips_are_said_to_be(
    words: dict[str, list[str]], message: str, small_vocabulary: dict[str, int]
) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary | {"、": len(small_vocabulary)})
    with pytest.warns(UserWarning, match=message):
        Verbalizer(words).tokenized(tokenizer, PATTERN)


def test_a_word_given_twice_counts_once_and_a_comma_alone_is_a_word(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Verbalizer({"a": ["很", "很"], "b": "，"}).tokenized(tokenizer, PATTERN)
    assert [word.label for word in found] == [0, 1]


@pytest.mark.parametrize("option", ["order", "length_normalization", "aggregate"])
def test_unknown_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}='best' is unknown; use one of"):
        Verbalizer({"a": "很", "b": "不"}, **{option: "best"})  # type: ignore[arg-type]


def test_an_unknown_label_word_is_refused(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"label word '龘' is \[UNK\] to this model"):
        Verbalizer({"a": "很", "b": "龘"}).tokenized(WoBertTokenizer(small_vocabulary), PATTERN)


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize(
    "make",
    [
        lambda missing: Verbalizer({missing: "很", "bad": "不"}),
        lambda missing: words_and_labels(Pattern("{text}{mask}"), {missing: "很", "bad": "不"}, None),
        lambda missing: words_and_labels(Pattern("{text}{label}{mask}"), ("很", "不"), [missing, "bad"]),
    ],
    ids=["verbalizer", "words", "names"],
)
def test_a_missing_label_is_none(make: Callable[[object], object], missing: object) -> None:
    with pytest.raises(ValueError, match=r"labels must be texts or numbers; got .*: what is missing means not known"):
        make(missing)
