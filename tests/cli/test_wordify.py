"""``nlpkit wordify``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Call = Callable[..., str]


def test_from_a_corpus_to_a_folder_that_loads(call: Call, small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    characters = {token: number for number, token in enumerate(t for t in small_vocabulary if len(t) == 1 or "[" in t)}
    config = BertConfig(
        vocab_size=len(characters), hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "source")
    BertTokenizer(vocab=characters).save_pretrained(tmp_path / "source")
    (tmp_path / "hotels.txt").write_text("酒店的服务不错。\n今天天气不错，酒店很好。\n" * 9, "utf-8")
    arguments = ["--corpus", str(tmp_path / "*.txt"), "--size", "200", "--layers", "0,2", "--distil", "2"]
    report = call("wordify", str(tmp_path / "source"), str(tmp_path / "words"), *arguments)
    assert "layers       3 -> 2: 0, 2" in report
    assert "distilled    2 steps on 64 texts" in report
    saved = json.loads((tmp_path / "words" / "wordify.json").read_text("utf-8"))
    tokenizer = WoBertTokenizer.from_pretrained(tmp_path / "words")
    model = WoBertForMaskedLM.from_pretrained(tmp_path / "words")
    assert saved["vocabulary_after"] == len(tokenizer) == model.config.vocab_size
    assert tokenizer.tokenize("酒店服务不错") == ["酒店", "服务", "不错"]


def test_words_that_no_text_becomes_are_told_of_once(call: Call, small_model: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no text can become") as warned:
        call("wordify", small_model, str(tmp_path / "words"), "--words", "3000")
    assert len([one for one in warned if "no text can become" in str(one.message)]) == 1


def test_what_is_no_model_and_what_would_be_overwritten_are_one_line(
    refuse: Call, small_model: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    error = refuse("wordify", str(tmp_path / "empty"), str(tmp_path / "words"))
    assert error.endswith("empty holds no config.json; give the folder of a transformers model")
    assert refuse("wordify", "/nowhere", small_model).endswith("holds a model already; give another folder")
