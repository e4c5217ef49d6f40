"""``nlpkit wordify``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from typer.testing import CliRunner

from nlpkit.cli import app
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
    assert "distilled    2 steps on 128 texts" in report
    saved = json.loads((tmp_path / "words" / "wordify.json").read_text("utf-8"))
    tokenizer = WoBertTokenizer.from_pretrained(tmp_path / "words")
    model = WoBertForMaskedLM.from_pretrained(tmp_path / "words")
    assert saved["vocabulary_after"] == len(tokenizer) == model.config.vocab_size
    assert tokenizer.tokenize("酒店服务不错") == ["酒店", "服务", "不错"]


def test_what_is_no_model_and_what_would_be_overwritten_are_one_line(
    refuse: Call, small_model: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    error = refuse("wordify", str(tmp_path / "empty"), str(tmp_path / "words"))
    assert error.endswith("empty holds no config.json; give the folder of a transformers model")
    assert refuse("wordify", "/nowhere", small_model).endswith("holds a model already; give another folder")
    (tmp_path / "file").touch()
    assert refuse("wordify", small_model, str(tmp_path / "file")).endswith("file is a file; give another folder")
    assert refuse("wordify", "./none", str(tmp_path / "out")) == "nlpkit: there is no folder ./none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "a"], "--layers 'a' must be numbers from 0, such as 0,4,8,11"),
        (["--layers", "0,9"], "--layers [0, 9] has 9; indices of this model run from 0 to 1"),
        (["--share", "law=0.5"], "--share needs texts: give --corpus"),
        (["--size", "100"], "--size needs texts: give --corpus"),
        (["--sample", "100"], "--sample needs texts: give --corpus"),
        (["--distil", "5"], "--distil needs texts: give --corpus"),
        (["--corpus", "x.txt", "--words", "5"], "--words is for a vocabulary without texts: leave --corpus out"),
        (["--vocabulary", "v", "--words", "5"], "--words is for a vocabulary made here: leave --vocabulary out"),
        (["--vocabulary", "v", "--corpus", "x.txt", "--size", "5"], "--size is for a vocabulary made here: leave"),
        (["--corpus", "HERE/hotels.txt", "--share", "hotels"], "--share must look like hotels=0.33; got 'hotels'"),
        (["--corpus", "HERE/hotels.txt", "--share", "law=1"], "--share names 'law'; the domains are hotels"),
        (["--corpus", "HERE/hotels.txt", "--size", "20"], "--size 20 leaves no room for words"),
        (["--vocabulary", "HERE/hotels.txt", "--fallback", "x"], "--fallback 'x' is unknown"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(
    refuse: Call, small_model: str, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "hotels.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n酒店的服务不错。\n", "utf-8")
    options = [option.replace("HERE", str(tmp_path)) for option in options]
    assert message in refuse("wordify", small_model, str(tmp_path / "out"), *options)


def test_words_that_no_text_can_become_are_named_once_and_by_the_option(small_model: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["wordify", small_model, str(tmp_path / "out"), "--words", "300000"])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "no text can become" in line]
    assert line.startswith("nlpkit: warning: no text can become ")
    assert line.endswith("; leave them out, or let them be cut: --cut-vocabulary-words")
