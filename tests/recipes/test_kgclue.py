"""Reading the questions of KgCLUE as a knowledge base and texts with links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlpkit.tasks.linking import AliasIndex, KnowledgeBase, MentionPrior, read_linked
from recipes.kgclue import is_unknown, link, main, read_question, split_entity


@pytest.mark.parametrize(
    ("entity", "parts"),
    [
        ("风不息（1995年发行的专辑）", ("风不息", "1995年发行的专辑")),
        ("端午节", ("端午节", "")),
        ("崇礼门（韩国汉城（今首尔）城门）", ("崇礼门", "韩国汉城（今首尔）城门")),
        ("黄初平（黄大仙）传说", ("黄初平（黄大仙）传说", "")),
        ("（空）", ("（空）", "")),
        ("甲（）", ("甲", "")),
    ],
)
def test_entities_are_names_and_glosses(entity: str, parts: tuple[str, str]) -> None:
    assert split_entity(entity) == parts


def test_links_are_where_the_name_stands_whatever_the_capitals() -> None:
    assert link("谁代言RIO？rio好喝吗", "rio（酒）") == [3, 6, "rio（酒）"]
    assert link("利群集团在哪", "利群集团股份有限公司") == [0, 6, "利群集团股份有限公司"]
    with pytest.raises(ValueError, match=r"need a question, and an answer of entity \|\|\| relation"):
        read_question({"question": "谁？", "answer": "甲 ||| 乙"})
    with pytest.raises(ValueError, match=r"must be a share from 0 to below 1"):
        main(["a", "b", "--unknown", "1"])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    questions = {
        "train": [("谁唱的风不息？", "风不息（专辑）"), ("风不息是什么", "风不息（小说）")],
        "dev": [("端午节是哪天", "端午节")],
        "test_public": [("重阳节是哪天", "重阳节")],
    }
    folder = tmp_path / "source"
    folder.mkdir()
    for name, part in questions.items():
        lines = [{"id": n, "question": q, "answer": f"{entity} ||| r ||| v"} for n, (q, entity) in enumerate(part)]
        (folder / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return folder


def test_all_entities_are_known_and_what_tells_the_question_is_not(source: Path, tmp_path: Path) -> None:
    main([str(source), str(tmp_path / "all")])
    assert rows(tmp_path / "all" / "entities.jsonl") == [
        {"id": "端午节", "name": "端午节", "description": ""},
        {"id": "重阳节", "name": "重阳节", "description": ""},
        {"id": "风不息（专辑）", "name": "风不息", "description": "专辑"},
        {"id": "风不息（小说）", "name": "风不息", "description": "小说"},
    ]
    base = KnowledgeBase.read(tmp_path / "all" / "entities.jsonl")
    assert [len(read_linked(tmp_path / "all" / f"{part}.jsonl", base)) for part in ("train", "dev", "test")] == [
        2,
        1,
        1,
    ]


def test_unknown_entities_have_no_link(source: Path, tmp_path: Path) -> None:
    names = ["风不息（专辑）", "风不息（小说）", "端午节", "重阳节"]
    share = next(n / 100 for n in range(100) if 0 < sum(is_unknown(name, n / 100) for name in names) < 4)
    main([str(source), str(tmp_path / "some"), "--unknown", str(share)])
    known = {entry["id"] for entry in rows(tmp_path / "some" / "entities.jsonl")}
    assert known == {name for name in names if not is_unknown(name, share)}
    found = [row for part in ("train", "dev", "test") for row in rows(tmp_path / "some" / f"{part}.jsonl")]
    assert sorted(one[2] for row in found for one in row["links"]) == sorted(known)
    assert len(found) == 4


@pytest.mark.shared
def test_the_public_set_is_read_and_priors_never_see_dev(shared_data: Path, tmp_path: Path) -> None:
    if not (shared_data / "kgclue").is_dir():
        pytest.skip("kgclue not found in the public data")
    main([str(shared_data / "kgclue"), str(tmp_path)])
    base = KnowledgeBase.read(tmp_path / "entities.jsonl")
    assert len(base) == 21977
    parts = {name: read_linked(tmp_path / f"{name}.jsonl", base) for name in ("train", "dev", "test")}
    assert [len(part) for part in parts.values()] == [18000, 2000, 2000]
    index = AliasIndex.of(base)
    train = parts["train"]
    prior = MentionPrior.count(index, [row["text"] for row in train], [row["links"] for row in train])
    assert prior.probability("是什么") < 0.001
    trained = {one.entity for row in train for one in row["links"]}
    only_dev = [one for row in parts["dev"] for one in row["links"] if one.entity not in trained]
    assert len(only_dev) == 2000
    assert all(prior.linked.get(one.mention, {}).get(one.entity, 0) == 0 for one in only_dev)
