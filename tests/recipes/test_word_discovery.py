"""The recipe that finds words and counts what they save, on lines written for the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.runs.recipe_arguments import parse_recipe_arguments
from recipes import word_discovery
from recipes.word_discovery import DiscoveryArguments, main
from tests.perturbed_masking.small_models import bert, tokenizer

LINES = ["今天天气不错，我们去吧。", "我们今天去，天气不错", "", "不错吧天气今天"] * 5


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    bert().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "lines.txt").write_text("\n".join(LINES), "utf-8")
    settings = {"files": tmp_path / "lines.txt", "model": tmp_path / "model", "output_dir": tmp_path / "run"}
    settings |= {"min_count": 2, "size": 200, "bf16": "false", "held_out_every": 4}
    return [option for name, value in settings.items() for option in (f"--{name}", str(value))]


def test_words_and_ratios_are_written_and_the_run_resumes(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked_texts = PerturbedMasking.linked_texts

    def interrupted(self: PerturbedMasking, texts: Any) -> Iterator[Any]:
        for number, linked in enumerate(linked_texts(self, texts)):
            if number == 6:
                raise KeyboardInterrupt
            yield linked

    monkeypatch.setattr(PerturbedMasking, "linked_texts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(options)
    monkeypatch.setattr(PerturbedMasking, "linked_texts", linked_texts)
    assert len((tmp_path / "run" / "strengths.jsonl").read_text("utf-8").splitlines()) == 6
    resumed = main(options)
    assert len((tmp_path / "run" / "strengths.jsonl").read_text("utf-8").splitlines()) == resumed["sentences"] == 10
    assert resumed["lines"] == 15
    whole = main([*options, "--output_dir", str(tmp_path / "whole")])
    assert resumed == whole == json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))

    rows = [line.split("\t") for line in (tmp_path / "run" / "words.txt").read_text("utf-8").splitlines()]
    assert len(rows) == resumed["candidates"] > 0
    assert all(float(inner) > float(outer) and int(count) >= 2 for _, count, inner, outer in rows)
    text = "".join(LINES)
    assert all(word in text and "，" not in word for word, *_ in rows)
    assert resumed["offered"] + resumed["in_the_dictionary"] == resumed["candidates"]
    assert resumed["merely_frequent_in_the_dictionary"] <= resumed["candidates"]
    assert 0 < resumed["tokens_per_character_with_merely_frequent"] <= resumed["tokens_per_character_without"]
    assert 0 < resumed["tokens_per_character_with"] <= resumed["tokens_per_character_without"] < 1


def test_links_may_come_from_counts(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the model is for its vocabulary alone")

    monkeypatch.setattr(PerturbedMasking, "linked_texts", never)
    assert main([*options, "--source", "counts"])["candidates"] > 0


def test_shipped_settings_are_read() -> None:
    path = Path(word_discovery.__file__).parent / "configs" / "word_discovery" / "reviews.yaml"
    (settings,) = parse_recipe_arguments([DiscoveryArguments], [str(path)])
    assert settings.output_dir == "runs/word_discovery/reviews"
