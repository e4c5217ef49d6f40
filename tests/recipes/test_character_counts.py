"""The recipe that makes a table of counts, on lines written for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.perturbed_masking import CorpusCounts, CountedLinks, segment
from nlpkit.runs import parse_recipe_arguments
from recipes import character_counts
from recipes.character_counts import CountingArguments, main

LINES = ["今天天气不错，我们去吧。", "我们今天去，天气不错", "", "不错吧天气今天"] * 5


def test_a_table_and_its_card_are_written_and_nothing_is_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(LINES), "utf-8")
    options = ["--files", str(tmp_path / "lines.txt"), "--output_dir", str(tmp_path / "run"), "--min_count", "3"]
    links = main(options)
    assert CorpusCounts.load(tmp_path / "run" / "counts.safetensors").count("天气") == 15
    loaded = CountedLinks.from_pretrained(tmp_path / "run" / "links")
    assert (
        loaded.facts
        == links.facts
        == {
            "files": ["lines"],
            "language": "zh",
            "characters_counted": 5 * 26,
            "min_count": 3,
            "most_forgotten": [0, 0, 0],
        }
    )
    assert segment(loaded, ["天气不错吧"])
    card = (tmp_path / "run" / "links" / "README.md").read_text("utf-8")
    assert "| characters counted | 130 |" in card and "All counts were exact before that." in card

    def never(*_: object) -> None:
        raise AssertionError("all is counted")

    monkeypatch.setattr(CorpusCounts, "add", never)
    again = main([*options, "--min_count", "6"])
    assert len(again.table.pairs) < len(links.table.pairs)


def test_shipped_settings_are_read() -> None:
    path = Path(character_counts.__file__).parent / "configs" / "character_counts" / "zh.yaml"
    (settings,) = parse_recipe_arguments([CountingArguments], [str(path)])
    assert settings.output_dir == "runs/character_counts/zh" and settings.texts.startswith("## Texts")
    assert path.read_text("utf-8").startswith("# python recipes/character_counts.py recipes/configs/")
