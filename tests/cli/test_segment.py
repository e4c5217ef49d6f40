"""``nlpkit segment``, called as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nlpkit.cli.segment import segment
from nlpkit.perturbed_masking import MeanWordLength, Measure, PerturbedMasking
from tests.perturbed_masking.small_models import bert, tokenizer

TEXTS = ["今天天气不错，我们去吧。", "", "天 气X"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    bert().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def call(*arguments: str, stdin: str | None = None) -> Any:
    app = typer.Typer()
    app.command()(segment)
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_words_are_those_of_the_library(model: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    parser = PerturbedMasking(bert(), tokenizer(), measure=Measure(2), show_progress=False)
    plain = call("--file", str(tmp_path / "texts.txt"), "--model", model, "--layer", "2")
    assert plain.stdout == "".join(" ".join(words) + "\n" for words in parser.segment(TEXTS))
    options = ["--layer", "2", "--mean-length", "2", "--json", "--model", model]
    as_json = call(*options, stdin="\n".join(TEXTS) + "\n")
    assert [json.loads(line) for line in as_json.stdout.splitlines()] == parser.segment(TEXTS, MeanWordLength(2.0))
    assert call("--threshold", "0", "--absolute", "-m", model, stdin="天 气X").stdout == "天 气 X\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "1", "--mean-length", "2"], "give --threshold or --mean-length, not both"),
        (["--mean-length", "0.5"], "a word cannot have 0.5 units on average"),
        (["--layer", "9"], "layer=9, but the model has the layers 1 to 3"),
    ],
)
def test_bad_options_are_named(model: str, options: list[str], message: str) -> None:
    found = call(*options, "--model", model, stdin="天气")
    assert isinstance(found.exception, ValueError)
    assert message in str(found.exception)


def test_long_texts_are_refused_or_split(model: str) -> None:
    text = "今天天气不错，" * 8
    assert "the model takes 40" in str(call("--model", model, stdin=text).exception)
    assert call("--split", "--threshold", "0", "--model", model, stdin=text).stdout.replace(" ", "") == text + "\n"
