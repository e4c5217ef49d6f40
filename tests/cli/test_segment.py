"""``nlpkit segment``, called as a person calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nlpkit.cli.segment import segment
from nlpkit.perturbed_masking import CountedLinks, MeanWordLength, Measure, MixedLinks, PerturbedMasking
from nlpkit.perturbed_masking import segment as segment_by
from tests.perturbed_masking.small_models import bert, tokenizer

ROOT = Path(__file__).resolve().parents[2]
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


def lines(words: list[list[str]]) -> str:
    return "".join(" ".join(one) + "\n" for one in words)


def test_by_default_words_come_from_the_shipped_counts(tmp_path: Path) -> None:
    counts = CountedLinks.from_pretrained(show_progress=False)
    assert call(stdin="\n".join(TEXTS)).stdout == lines(segment_by(counts, TEXTS))
    assert call("--source", "counts", "--absolute", *TEXTS).stdout == lines(segment_by(counts, TEXTS, relative=False))
    counts.save_pretrained(tmp_path)
    assert call("--counts", str(tmp_path), *TEXTS).stdout == lines(segment_by(counts, TEXTS))


def test_no_model_is_loaded_for_counts() -> None:
    code = (
        "import sys; from nlpkit.cli import app; app(['segment', '今天天气不错'], standalone_mode=False); "
        "print([module for module in ('torch', 'transformers', 'tokenizers') if module in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "今天 天气 不错\n[]\n"


def test_counts_and_a_model_are_mixed_where_both_are_asked_for(model: str) -> None:
    masking = PerturbedMasking(bert(), tokenizer(), measure=Measure(2), show_progress=False)
    both = MixedLinks([CountedLinks.from_pretrained(show_progress=False), masking])
    options = ["--source", "both", "--model", model, "--layer", "2", "--mean-length", "1.5"]
    assert call(*options, *TEXTS).stdout == lines(segment_by(both, TEXTS, MeanWordLength(1.5)))
    impact = call("--source", "impact", "--model", model, "--layer", "2", *TEXTS)
    assert impact.stdout == lines(masking.segment(TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "jieba"], "--source jieba is unknown; use counts, impact, both"),
        (["--layer", "2"], "uses no model; leave out --layer, or give --source impact or --source both"),
        (["--source", "counts", "-m", "m", "--bf16"], "--source counts uses no model; leave out --model, --bf16, or"),
        (
            ["--source", "impact", "--counts", "c"],
            "--source impact uses no counts; leave out --counts, or give",
        ),
        (["--counts", "wobert-mini-zh"], "wobert-mini-zh holds no counted_links.safetensors"),
        (["--source", "both", "--units", "tokens"], "into different units; give units='characters' to a model"),
    ],
)
def test_options_of_another_source_are_refused(options: list[str], message: str) -> None:
    found = call(*options, stdin="今天天气不错，我们去公园散步。")
    assert isinstance(found.exception, ValueError)
    assert message in str(found.exception)


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


def test_several_processes_do_not_read_a_pipe(refuse: Callable[..., str], tmp_path: Path) -> None:
    """The second reading, that of the words, would find nothing, or what the first one has left."""
    reads, writes = os.pipe()
    os.write(writes, "今天天气不错\n".encode())
    os.close(writes)
    message = "several processes read a file, after the threshold is found on it; give it with --file"
    try:
        assert message in refuse("segment", "--workers", "2", "--file", f"/dev/fd/{reads}")
    finally:
        os.close(reads)
    assert f"there is no file {tmp_path / 'none'}" in refuse("segment", "--workers", "2", "-f", str(tmp_path / "none"))
