"""What is handed to the tokenizer: pairs, arrays and columns mean what transformers means; errors name the row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from tokenizers import AddedToken
from transformers import BertTokenizer, pipeline

from nlpkit import WoBertConfig, WoBertForSequenceClassification, WoBertTokenizer
from tests.wobert.tokenizing.test_tokenizer import WholeText


@pytest.fixture(scope="module")
def tokenizer(small_vocabulary: dict[str, int]) -> WoBertTokenizer:
    return WoBertTokenizer(small_vocabulary)


@pytest.fixture(scope="module")
def twins(small_vocabulary: dict[str, int]) -> tuple[WoBertTokenizer, BertTokenizer]:
    tokens = [token for token in small_vocabulary if token.isascii() or len(token) == 1]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return WoBertTokenizer(vocabulary, segmenter=WholeText()), BertTokenizer(vocab=vocabulary)


@pytest.mark.parametrize(
    ("text", "pair", "split"),
    [
        ([["好", "不"], ["错", "的"]], None, False),
        ([("好", "不"), ("错", "的")], None, False),
        ([("好", "不"), ["错", "的"]], None, False),
        ([["好", "不"], "错"], None, False),
        (["好", "不"], None, False),
        (("好", "不"), None, False),
        ("好", "不", False),
        (["好", "不"], ["错", "的"], False),
        (["好", "不"], ("错", "的"), False),
        ([["好", "不"], ["错"]], None, True),
        (["好", "不"], None, True),
        ([["好", "不"], ["错", "的"]], None, True),
        ([(["好"], ["不", "错"]), (["的"], ["一"])], None, True),
        ([[["好"], ["不", "错"]], [["的"], ["一"]]], None, True),
        ([["好", "不"]], [["错"]], True),
        ([["好", "不"], []], None, True),
        (np.str_("好"), None, False),
    ],
)
def test_pairs_and_lists_of_words_mean_what_they_mean_to_transformers(
    twins: tuple[WoBertTokenizer, BertTokenizer], text: Any, pair: Any, split: bool
) -> None:
    ours, theirs = (dict(twin(text, pair, is_split_into_words=split)) for twin in twins)
    assert ours == theirs


@pytest.mark.parametrize("held", [np.array, pd.Series, tuple, lambda texts: np.array(texts, dtype=object)])
def test_arrays_and_series_are_batches(tokenizer: WoBertTokenizer, held: Any) -> None:
    texts, others = ["今天", "天气"], ["不错", "很好"]
    assert tokenizer(held(texts))["input_ids"] == tokenizer(texts)["input_ids"]
    assert tokenizer(held(texts), held(others))["input_ids"] == tokenizer(texts, others)["input_ids"]


def test_columns_of_a_data_set_and_rows_of_an_array_are_batches(tokenizer: WoBertTokenizer) -> None:
    rows = [["今天", "不错"], ["天气", "很好"]]
    expected = tokenizer([tuple(row) for row in rows])["input_ids"]
    data = Dataset.from_dict({"a": [row[0] for row in rows], "b": [row[1] for row in rows], "pair": rows})
    assert tokenizer(data["a"], data["b"])["input_ids"] == expected
    assert tokenizer(data["pair"])["input_ids"] == expected
    assert tokenizer(np.array(rows))["input_ids"] == expected
    assert tokenizer(pd.DataFrame(rows).to_numpy())["input_ids"] == expected


def test_a_cross_encoders_call_pads_pairs_to_tensors(tokenizer: WoBertTokenizer) -> None:
    # sentence-transformers' CrossEncoder: rank() makes lists of two of a query and each document.
    pairs = [["酒店", text] for text in ("服务很好", "房间干净，推荐朋友")]
    batch = tokenizer(pairs, padding=True, truncation="longest_first", return_tensors="pt", max_length=12)
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (2, batch["input_ids"].shape[1])
    assert batch["token_type_ids"].sum(dim=1).tolist() == [4, 6]


def test_the_zero_shot_pipeline_ranks_labels(tmp_path: Path, tokenizer: WoBertTokenizer) -> None:
    torch.manual_seed(0)
    names = {0: "contradiction", 1: "entailment"}
    config = WoBertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        id2label=names, label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    WoBertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classify = pipeline("zero-shot-classification", model=str(tmp_path), hypothesis_template="我们{}。")
    answer = classify("酒店的服务很好", candidate_labels=["满意", "不"])
    assert sorted(answer["labels"]) == ["不", "满意"]
    assert sum(answer["scores"]) == pytest.approx(1)


@pytest.mark.parametrize("texts", [["好", "不\ud800错"], [("好", "好"), ("好", "不\ud800错")], ["不\ud800错"] * 2])
@pytest.mark.parametrize("fallback", ["faithful", "constrained"])
def test_half_a_surrogate_pair_is_shown_in_its_text(
    small_vocabulary: dict[str, int], texts: Any, fallback: Any
) -> None:
    """And not by a row, which whoever calls a tokenizer may have moved."""
    tokenizer = WoBertTokenizer(small_vocabulary, fallback=fallback)
    for settings in ({}, {"return_offsets_mapping": True}):
        with pytest.raises(ValueError, match=r"^the text '不\\ud800错' has a lone surrogate, '\\ud800': no UTF-8"):
            tokenizer(texts, **settings)


def test_a_long_text_is_shown_around_its_half_of_a_pair(small_vocabulary: dict[str, int]) -> None:
    text = "好" * 500 + "不\udfff错" + "的" * 500
    with pytest.raises(
        ValueError, match=r"the text '好{9}不\\udfff错的{8}' has a lone surrogate, '\\udfff': no UTF-8"
    ):
        WoBertTokenizer(small_vocabulary)(text)


@pytest.mark.parametrize(
    "settings", [{"stride": -1}, {"stride": 1.5}, {"stride": "1"}, {"pad_to_multiple_of": -8}, {"stride": True}]
)
def test_numbers_that_would_lose_tokens_are_refused(tokenizer: WoBertTokenizer, settings: dict[str, Any]) -> None:
    (name,) = settings
    for more in ({}, {"truncation": True, "max_length": 4, "return_overflowing_tokens": True, "padding": True}):
        with pytest.raises(ValueError, match=name):
            tokenizer("今天天气不错", **more, **settings)


@pytest.mark.parametrize("length", ["4", -1, 0, 2.5, 4.0, True, [4]])
def test_lengths_that_are_no_numbers_of_tokens_are_refused(tokenizer: WoBertTokenizer, length: Any) -> None:
    message = re.escape(f"max_length={length!r} must be a whole number of tokens, at least 1")
    for more in ({}, {"truncation": True}, {"padding": "max_length"}, {"padding": True, "pad_to_multiple_of": 8}):
        with pytest.raises(ValueError, match=message):
            tokenizer("今天天气不错", max_length=length, **more)
        with pytest.raises(ValueError, match=message):
            tokenizer.encode("今天天气不错", max_length=length, **more)
    with pytest.raises(ValueError, match=message):
        tokenizer.pad({"input_ids": [[1, 2]]}, padding="max_length", max_length=length)
    assert len(tokenizer("今天天气不错", max_length=np.int64(4))["input_ids"]) == 4


@pytest.mark.parametrize("length", ["x", -1, 0, 512.0, True, [3]])
def test_a_limit_of_the_model_that_is_no_number_of_tokens_is_refused(
    small_vocabulary: dict[str, int], length: Any
) -> None:
    message = re.escape(f"model_max_length={length!r} must be a whole number of tokens, at least 1")
    with pytest.raises(ValueError, match=message):
        WoBertTokenizer(small_vocabulary, model_max_length=length)
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.model_max_length = length
    with pytest.raises(ValueError, match=message):
        tokenizer("今天", truncation=True)


@pytest.mark.parametrize("name", ["do_lower_case", "cut_vocabulary_words"])
def test_a_no_in_words_is_no_yes(small_vocabulary: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='no' must be True or False"):
        WoBertTokenizer(small_vocabulary, **{name: "no"})


@pytest.mark.parametrize("normalized", [False, True])
def test_a_single_word_stands_alone_beside_chinese(small_vocabulary: dict[str, int], normalized: bool) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.add_tokens([AddedToken("NLP", single_word=True, normalized=normalized)])
    assert tokenizer.tokenize("我们NLP今天") == ["我", "们", "NLP", "今天"]
    assert "NLP" in tokenizer.tokenize("NLP，NLP")
    for text in ("NLPs", "aNLP", "NLP3"):
        assert "NLP" not in tokenizer.tokenize(f"我们{text}今天")


def test_a_single_chinese_word_is_found_where_the_segmenter_cuts_it(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.add_tokens([AddedToken("北京", single_word=True, normalized=False)])
    assert tokenizer.tokenize("我们的北京") == ["我", "们", "的", "北京"]
    assert "北京" not in tokenizer.tokenize("北京大学")


def test_tokens_added_one_by_one_are_found_like_those_added_at_once(small_vocabulary: dict[str, int]) -> None:
    added = [f"<{number}>" for number in range(50)]
    one_by_one, at_once = WoBertTokenizer(small_vocabulary), WoBertTokenizer(small_vocabulary)
    assert [one_by_one.add_tokens(token) for token in added] == [1] * 50
    assert at_once.add_tokens(added) == 50
    text = "今天" + "好".join(added)
    assert one_by_one(text)["input_ids"] == at_once(text)["input_ids"]
