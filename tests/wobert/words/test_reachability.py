"""Tokens that no text becomes: found by splitting, warned of, and mended on demand."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, BertTokenizer

from nlpkit.wobert import RjiebaSegmenter, WoBertTokenizer, build_vocabulary, read_vocabulary, wordify
from nlpkit.wobert.words.reachability import cutting_its_words, unreachable_tokens
from nlpkit.wobert.words.word_splitter import WordSplitter

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [*"今天气好的量子纠缠奥司他韦随时地", "，", "a", "##a", "b", "##b"]
WORDS = [*SPECIAL, *CHARACTERS, "今天", "天气", "奥司他韦", "量子纠缠"]


def numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def splitter(tokens: list[str], fallback: Any = "faithful", lower_case: bool = True) -> WordSplitter:
    return WordSplitter(numbered(tokens), 1, RjiebaSegmenter(), fallback, lower_case)


@pytest.mark.parametrize(
    ("token", "reachable"),
    [
        ("天气", True),
        ("奥司他韦", False),
        ("量子纠缠", False),
        ("天", True),
        ("，", True),
        ("##天", False),
        ("##ab", True),
        ("##，", False),
        ("A", False),
        ("é", False),
        ("abc", True),
        ("covid-19", False),
        ("10℃", False),
        ("から", False),
        ("天 气", False),
        ("5g网络", False),
    ],
)
def test_each_kind_of_token_is_judged_by_splitting_it(token: str, reachable: bool) -> None:
    found = unreachable_tokens(splitter([*SPECIAL, "a", "b", "##b", token]), SPECIAL)
    assert (token not in found) == reachable


def test_without_lower_casing_capitals_are_reachable() -> None:
    assert unreachable_tokens(splitter([*SPECIAL, "A"], lower_case=False), SPECIAL) == ()


def test_a_piece_that_nothing_precedes_is_unreachable() -> None:
    assert unreachable_tokens(splitter([*SPECIAL, "##s"]), SPECIAL) == ("##s",)
    assert unreachable_tokens(splitter([*SPECIAL, "a", "##s"]), SPECIAL) == ()
    assert unreachable_tokens(splitter([*SPECIAL, "as", "##s"]), SPECIAL) == ()
    assert unreachable_tokens(splitter([*SPECIAL, "a", "as", "##s"]), SPECIAL) == ()


def test_words_that_cover_others_are_reachable_by_the_constrained_fallback() -> None:
    """jieba never cuts 一壑, but 一丘一壑, which this vocabulary lacks, is covered with it."""
    tokens = [*SPECIAL, *"一丘壑", "一壑"]
    assert splitter(tokens, "constrained").ids("一丘一壑") == [5, 6, 8]
    assert unreachable_tokens(splitter(tokens, "constrained"), SPECIAL) == ()
    assert unreachable_tokens(splitter(tokens), SPECIAL) == ("一壑",)


@given(words=st.sets(st.text("今天气好的量子αの，℃ a9", min_size=2, max_size=4), max_size=12))
def test_every_word_is_reachable_once_the_vocabulary_is_cut(words: set[str]) -> None:
    kept = [word for word in sorted(words) if word.strip() == word]
    cutting = cutting_its_words(splitter([*SPECIAL, *kept]), SPECIAL)
    assert unreachable_tokens(cutting, SPECIAL) == ()
    assert all(cutting.ids(word) == [cutting.vocabulary[word]] for word in kept)


def test_the_tokenizer_cuts_its_vocabulary_and_is_the_same_after_saving(tmp_path: Path) -> None:
    tokenizer = WoBertTokenizer(numbered([*WORDS, "10℃"]), cut_vocabulary_words=True)
    text = "今天奥司他韦，量子纠缠10℃的天气"
    tokens = ["今天", "奥司他韦", "，", "量子纠缠", "10℃", "的", "天气"]
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.unreachable_tokens() == ()
    assert tokenizer(text, return_offsets_mapping=True)["offset_mapping"][2] == (2, 6)
    assert pickle.loads(pickle.dumps(tokenizer)).tokenize(text) == tokens
    tokenizer.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = WoBertTokenizer.from_pretrained(tmp_path)
    assert loaded.tokenize(text) == tokens
    assert WoBertTokenizer(numbered(WORDS)).tokenize("奥司他韦") == ["奥", "司", "他", "韦"]


def test_a_loaded_tokenizer_that_cuts_its_vocabulary_does_not_warn_of_another_dictionary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    WoBertTokenizer(numbered(WORDS), cut_vocabulary_words=True).save_pretrained(tmp_path)
    with caplog.at_level("WARNING", logger="nlpkit"):
        WoBertTokenizer.from_pretrained(tmp_path)
    assert caplog.text == ""


def characters() -> tuple[BertModel, BertTokenizer]:
    tokens = [*SPECIAL, *CHARACTERS]
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    return BertModel(config, add_pooling_layer=False), BertTokenizer(vocab=numbered(tokens))


def test_wordify_reports_unreachable_words_and_warns_how_to_mend_it() -> None:
    with pytest.warns(
        UserWarning, match=r"no text can become 2 words .*: 奥司他韦 量子纠缠; .*cut_vocabulary_words=True"
    ):
        report = wordify(*characters(), WORDS).report
    assert report.unreachable_tokens == ("奥司他韦", "量子纠缠")
    assert (report.new_rows, report.unreachable_new_rows) == (4, 2)
    assert "unreachable  2 tokens, 2 of the new rows: 奥司他韦 量子纠缠" in str(report)
    assert report.to_dict()["unreachable_tokens"] == ("奥司他韦", "量子纠缠")


def test_wordify_makes_them_reachable_on_demand() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = wordify(*characters(), WORDS, cut_vocabulary_words=True)
    assert words.report.unreachable_tokens == ()
    assert words.tokenizer.tokenize("量子纠缠的") == ["量子纠缠", "的"]


def test_built_vocabularies_warn_of_kept_words_that_are_never_cut_or_count_them() -> None:
    base, corpus = [*SPECIAL, *CHARACTERS], ["今天奥司他韦，天气好", "奥司他韦好"]
    with pytest.warns(UserWarning, match=r"no text can become 1 word of the vocabulary.*: 奥司他韦; leave them out"):
        build_vocabulary(base, corpus=corpus, size=200, keep=["奥司他韦"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vocabulary = build_vocabulary(base, corpus=corpus, size=200, keep=["奥司他韦"], cut_vocabulary_words=True)
    assert vocabulary["奥司他韦"] < vocabulary["今天"], "it occurs twice"


@pytest.mark.shared
def test_the_released_vocabulary_has_some_words_that_no_text_becomes(shared_models: Path) -> None:
    """WoBERT+ was counted on a corpus; what it holds beyond reserved tokens can all be produced."""
    plus = WoBertTokenizer(read_vocabulary(shared_models / "vocab" / "wobert-plus.vocab.txt")).unreachable_tokens()
    assert {token for token in plus if not token.startswith("[unused")} == {"<S>", "<T>"}
    first = WoBertTokenizer(read_vocabulary(shared_models / "vocab" / "wobert-base.vocab.txt")).unreachable_tokens()
    assert {"から", "##の"} <= set(first)
    assert not {"天气", "##s", "的", "[MASK]"} & set(first)
