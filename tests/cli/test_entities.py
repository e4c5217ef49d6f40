"""``nlpkit entities``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nlpkit import EntityRecognizer

Call = Callable[..., str]
TEXT = "酒店很好，房间干净"


@pytest.fixture(scope="module")
def finder(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model that has learnt one text by heart."""
    torch.manual_seed(0)
    recognizer = EntityRecognizer.from_pretrained(small_model, types=["PLACE", "WORD"], units="characters")
    batch = recognizer.collator()([{"text": TEXT, "spans": [(0, 2, "PLACE"), (0, 1, "WORD"), (5, 7, "PLACE")]}])
    optimizer = torch.optim.AdamW(recognizer.model.parameters(), lr=1e-2)
    for _ in range(60):
        recognizer.model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = str(tmp_path_factory.mktemp("finder"))
    recognizer.save_pretrained(folder)
    return folder


def test_one_line_per_text_however_the_texts_come(call: Call, finder: str, tmp_path: Path) -> None:
    plain = call("entities", "-m", finder, TEXT, "")
    assert [part.split()[:2] for part in plain.splitlines()[0].split("\t")] == [
        ["PLACE", "酒店"], ["WORD", "酒"], ["PLACE", "房间"],
    ]  # fmt: skip
    assert plain.splitlines()[1] == ""
    assert call("entities", "-m", finder, stdin=f"{TEXT}\n\n") == plain
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 7, "body": TEXT}) + "\n\n", "utf-8")
    lines = call("entities", "-m", finder, "--file", str(tmp_path / "a.jsonl"), "--text", "body").splitlines()
    row, blank = map(json.loads, lines)
    assert row["id"] == 7
    assert [(one["start"], one["end"], one["label"], one["text"]) for one in row["entities"]] == [
        (0, 2, "PLACE", "酒店"), (0, 1, "WORD", "酒"), (5, 7, "PLACE", "房间"),
    ]  # fmt: skip
    assert blank == {"entities": []}
    flat = json.loads(call("entities", "-m", finder, "--flat", "--json", TEXT))
    assert len(flat["entities"]) == 2


def test_a_page_shows_all_texts(call: Call, finder: str, tmp_path: Path) -> None:
    call("entities", "-m", finder, TEXT, "--html", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text("utf-8").count("<mark") == 3


def test_what_is_missing_is_one_line(refuse: Callable[..., str], finder: str, small_model: str) -> None:
    assert "give --model: no model that finds entities is shipped" in refuse("entities", "好")
    assert "--threshold 2.0: give a finite number" in refuse("entities", "-m", finder, "--threshold", "2", "好")
    untrained = refuse("entities", "-m", small_model, "好")
    assert f"{small_model} finds no entities: give --model a folder that nlpkit recipe entities wrote" in untrained
    assert "types=" not in untrained


def test_its_help_names_a_folder_that_the_recipe_writes(call: Call) -> None:
    shown = "".join(call("entities", "--help").split())
    assert "--modelruns/entities/pfr/global_pointer-words/seed-0/model" in shown
