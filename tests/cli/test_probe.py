from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nlpkit import EntityRecognizer


def test_a_model_is_probed_on_one_page(call: Callable[..., str], small_model: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, drawn = tmp_path / "page.html", tmp_path / "positions.svg"
    text = call("probe", small_model, "--texts", "16", "--html", str(page), "--out", str(drawn))
    for part in ("WoBertModel: ", "Positions", "Dropout", "Normalisation", "Embeddings"):
        assert part in text
    assert "<svg" in page.read_text("utf-8") and "<svg" in drawn.read_text("utf-8")


def test_mistakes_are_one_line(refuse: Callable[..., str], small_model: str, tmp_path: Path) -> None:
    assert "a.txt must end in one of .png, .svg, .pdf" in refuse("probe", str(tmp_path / "none"), "--out", "a.txt")
    assert "--length 600 and two marks, but WoBertModel has room for 512 tokens" in refuse(
        "probe", small_model, "--length", "600"
    )
    assert "--texts 1: give a whole number at least 2" in refuse("probe", small_model, "--texts", "1")
    assert "there is no folder" in refuse("probe", str(tmp_path / "none"))
    EntityRecognizer.from_pretrained(small_model, types=["X"]).save_pretrained(tmp_path / "entities")
    assert "which has no base model; give the one it was made from" in refuse("probe", str(tmp_path / "entities"))
