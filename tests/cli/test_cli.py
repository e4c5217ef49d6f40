"""The command line, called as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from typer.testing import CliRunner

from nlpkit.cli import app, main
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Call = Callable[..., str]


@pytest.fixture(scope="module")
def model(small_vocabulary: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a word model with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **sizes)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def call() -> Call:
    """Run a verb; its standard output."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_tokenize_writes_a_json_line_a_text(call: Call, model: str, tmp_path: Path) -> None:
    texts = ["酒店很好。", "", "随时Café"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    from_file = call("tokenize", str(tmp_path / "texts.txt"), "--model", model)
    from_stdin = call("tokenize", "--model", model, stdin="\n".join(texts) + "\n")
    rows = [json.loads(line) for line in from_file.splitlines()]
    assert from_file == from_stdin
    assert [row["pieces"] for row in rows] == [["酒店", "很", "好", "。"], [], ["随时", "cafe"]]
    assert [texts[2][start:end] for start, end in rows[2]["offsets"]] == ["随时", "Café"]
    assert rows[0]["ids"] == WoBertTokenizer.from_pretrained(model).convert_tokens_to_ids(rows[0]["pieces"])


def test_tokenize_keeps_line_separators_inside_a_text(call: Call, model: str) -> None:
    assert len(call("tokenize", "--model", model, stdin="很\u2028好\n好\n").strip().split("\n")) == 2


def test_tokenize_with_a_vocabulary_and_a_fallback(call: Call, model: str) -> None:
    vocabulary = f"{model}/vocab.txt"
    faithful = json.loads(call("tokenize", "--vocabulary", vocabulary, stdin="随时随地\n"))
    constrained = json.loads(
        call("tokenize", "--vocabulary", vocabulary, "--fallback", "constrained", stdin="随时随地\n")
    )
    assert faithful["pieces"] == ["随", "时", "随", "地"]
    assert constrained["pieces"] == ["随时", "随地"]


def test_compare_shows_characters_and_words(call: Call, model: str) -> None:
    output = call("tokenize", "--model", model, "--compare", stdin="酒店服务不错\n")
    assert "酒 店 服 务 不 错" in output
    assert "酒店 服务 不错" in output
    assert "6 character tokens, 3 word tokens: 0.50 of them" in output


def test_fill_mask_fills_every_gap(call: Call, model: str) -> None:
    output = call("fill-mask", "酒店很[MASK]。", "[MASK]天[MASK]好", "--model", model, "--json", "-k", "3")
    one, two = (json.loads(line) for line in output.splitlines())
    assert [len(gap) for gap in one["fillings"]] == [3]
    assert [len(gap) for gap in two["fillings"]] == [3, 3]
    assert all(0 < probability < 1 for _, probability in one["fillings"][0])
    assert "%" in call("fill-mask", "酒店很[MASK]。", "--model", model)


def test_wordify_from_a_corpus_to_a_folder_that_loads(
    call: Call, small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
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


def test_classify_answers_a_line_a_text(call: Call, model: str, tmp_path: Path) -> None:
    texts = ["酒店很好", "房间不干净，我们不满意"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    options = ["--model", model, "-p", "{text}很{mask}。", "-l", "good=好,满意", "-l", "bad=不错"]
    from_file = call("classify", *options, "--file", str(tmp_path / "texts.txt"), "--json")
    assert from_file == call("classify", *options, *texts, "--json")
    rows = [json.loads(line) for line in from_file.splitlines()]
    assert [row["text"] for row in rows] == texts
    for row in rows:
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    calibrated = call("classify", *options, *texts, "--json", "--calibrate")
    shares = [json.loads(line)["probabilities"]["good"] for line in calibrated.splitlines()]
    assert min(shares) <= 0.5 <= max(shares)


def test_classify_takes_fields_by_name(call: Call, model: str) -> None:
    pair = '{"first": "酒店很好", "second": "酒店不错"}'
    output = call("classify", "-m", model, "-p", "{first}{mask}{second}", "-l", "y=是", "-l", "n=不", pair)
    assert output.split("\t")[0] in ("y", "n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "好", "--model", "{model}", "-p", "x"], "has no {{mask}}"),
        (["classify", "好", "--model", "{model}", "-p", "{{text}}{{mask}}"], "no labels; give each with its word"),
        (["classify", "好", "--model", "{model}", "-l", "good"], "must look like name=word"),
        (["classify", "好", "--model", "{model}", "-l", "a=好", "-l", "b=龘", "-p", "{{mask}}{{text}}"], "is [UNK]"),
        (["tokenize", "/nowhere.txt", "--model", "{model}"], "there is no file /nowhere.txt"),
        (["tokenize", "--model", "no-such-model"], "no shipped model is called 'no-such-model'; there are:"),
        (
            ["fill-mask", "酒店很好", "--model", "{model}"],
            "no [MASK] in '酒店很好'; put one where a word is to be found",
        ),
        (["wordify", "/nowhere", "/tmp/x"], "/nowhere holds no config.json; give the folder of a transformers model"),
        (["wordify", "/nowhere", "{model}"], "holds a model already; give another folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    model: str,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[Any],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nlpkit", *(argument.format(model=model) for argument in arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message.format(model=model) in error
    assert len(error.strip().splitlines()) == 1


def test_text_that_is_not_utf8_is_refused_by_line(model: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes("好\n".encode() + "酒店".encode("gb18030") + b"\n")
    with pytest.raises(ValueError, match=r"texts.txt, line 2 is not UTF-8 .*; convert it"):
        CliRunner().invoke(app, ["tokenize", str(tmp_path / "texts.txt"), "--model", model], catch_exceptions=False)


def test_help_loads_neither_torch_nor_transformers() -> None:
    script = (
        "import sys; sys.argv = ['nlpkit', '--help']\n"
        "from nlpkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "tokenize" in output
    assert "LOADED []" in output
