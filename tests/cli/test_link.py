"""``nlpkit link``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nlpkit.tasks.linking import EntityLinker, Entry, KnowledgeBase

Call = Callable[..., str]
TEXT = "酒店很好，房间干净"


@pytest.fixture(scope="module")
def linker(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model that has learnt one text by heart."""
    torch.manual_seed(0)
    base = KnowledgeBase([Entry("Q1", "酒店", (), "服务"), Entry("Q2", "酒店", (), "房间"), Entry("Q3", "房间")])
    settings = {"description_tokens": 8}
    made = EntityLinker.from_pretrained(small_model, base, settings=settings)
    rows = made.training_rows([{"text": TEXT, "links": [[0, 2, "Q2"]]}], counted=False)
    batch = made.collator()(rows)
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=1e-2)
    for _ in range(40):
        made.model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = str(tmp_path_factory.mktemp("linker"))
    made.save_pretrained(folder)
    return folder


def test_one_line_per_text_however_the_texts_come(call: Call, linker: str, tmp_path: Path) -> None:
    plain = call("link", "-m", linker, TEXT, "")
    assert plain.splitlines()[0].split()[:2] == ["Q2", "酒店"]
    assert len(plain.splitlines()[0].split("\t")) == 1
    assert plain.splitlines()[1] == ""
    assert call("link", "-m", linker, stdin=f"{TEXT}\n\n") == plain
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 7, "body": TEXT}) + "\n\n", "utf-8")
    lines = call("link", "-m", linker, "--file", str(tmp_path / "a.jsonl"), "--text", "body").splitlines()
    row, blank = map(json.loads, lines)
    assert row["id"] == 7
    assert [(one["start"], one["end"], one["mention"], one["entity"]) for one in row["links"]] == [
        (0, 2, "酒店", "Q2")
    ]
    assert blank == {"links": []}
    both = json.loads(call("link", "-m", linker, "--json", "--threshold", "1e-12", TEXT))
    assert len(both["links"]) == 2
    one = json.loads(call("link", "-m", linker, "--json", "--threshold", "1e-12", "--most", "1", TEXT))
    assert len(one["links"]) == 1


def test_another_knowledge_base_and_a_page(call: Call, linker: str, tmp_path: Path) -> None:
    KnowledgeBase([Entry("Z", "酒店", (), "房间")]).save(tmp_path / "base.jsonl")
    call("link", "-m", linker, TEXT, "--html", str(tmp_path / "page.html"), "--threshold", "1e-12")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<mark") == 2
    assert "Q2" in page
    options = ["--knowledge-base", str(tmp_path / "base.jsonl"), "--threshold", "1e-12"]
    assert call("link", "-m", linker, *options, TEXT).split()[:2] == ["Z", "酒店"]


def test_what_is_missing_is_one_line(
    refuse: Callable[..., str], linker: str, small_model: str, tmp_path: Path
) -> None:
    assert "give --model: no model that links is shipped" in refuse("link", "好")
    assert "--threshold 2.0: give a finite number" in refuse("link", "-m", linker, "--threshold", "2", "好")
    (tmp_path / "base.jsonl").write_text('{"id": "Q1", "name": "好"}\n', "utf-8")
    for base in ([], ["--knowledge-base", str(tmp_path / "base.jsonl")]):
        untrained = refuse("link", "-m", small_model, *base, "好")
        assert f"{small_model} links nothing: give --model a folder that nlpkit recipe linking wrote" in untrained
    missing = str(tmp_path / "none.jsonl")
    assert f"there is no file {missing}" in refuse("link", "-m", linker, "--knowledge-base", missing, "好")
