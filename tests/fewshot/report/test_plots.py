"""Pictures: whole, and with characters that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.fewshot.grid.results import RunResult
from nlpkit.fewshot.report.plots import plot_scores

pytest.importorskip("matplotlib")


def runs(task: str, *methods: str) -> list[RunResult]:
    return [
        RunResult(task, method, split, 0, "1f", dev={"accuracy": 0.5 + split / 20})
        for method in methods
        for split in range(5)
    ]


def test_picture_names_every_task_and_method(tmp_path: Path) -> None:
    path = plot_scores([*runs("eprstmt", "majority", "pet"), *runs("tnews", "pet")], tmp_path / "new" / "a.svg", "dev")
    drawn = path.read_text("utf-8")
    assert {name: drawn.count(f">{name}</text>") for name in ("eprstmt", "tnews", "majority", "pet")} == {
        "eprstmt": 1,
        "tnews": 1,
        "majority": 2,
        "pet": 2,
    }
    assert "own dev, %" in drawn
    assert [file.name for file in path.parent.iterdir()] == ["a.svg"]


def test_picture_may_be_pixels(tmp_path: Path) -> None:
    path = plot_scores(runs("eprstmt", "pet"), tmp_path / "a.png", "dev")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_names_in_chinese_stay_text_in_svg(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    drawn = plot_scores(runs("情感", "模板"), tmp_path / "a.svg", "dev").read_text("utf-8")
    assert (drawn.count(">情感</text>"), drawn.count(">模板</text>")) == (1, 1)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_characters_in_no_font_are_refused_instead_of_drawn_as_boxes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no installed font has .*; install one that does, e\.g\. Noto Sans CJK"):
        plot_scores(runs("\U00100000", "pet"), tmp_path / "a.png", "dev")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.bmp must end in one of \.png, \.svg, \.pdf"):
        plot_scores(runs("eprstmt", "pet"), tmp_path / "a.bmp", "dev")
    with pytest.raises(ValueError, match="none of 5 results has a score on test"):
        plot_scores(runs("eprstmt", "pet"), tmp_path / "a.png", "test")
