"""The nine tasks: records as the files hold them, and the files themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from nlpkit.fewshot.tasks.fewclue import FEWCLUE, IDIOM_SLOT, fewclue_task
from nlpkit.fewshot.tasks.folders import TaskFolder
from tests.fewshot.written_folders import write_lines

CLUEWSC: dict[str, Any] = {
    "target": {"span1_text": "小王", "span1_index": 0, "span2_text": "他", "span2_index": 8},
    "text": "小王说下班以后，他来做饭。",
    "label": "true",
}
CHID: dict[str, Any] = {"content": f"他{IDIOM_SLOT}。", "candidates": [*"甲乙丙丁戊己庚"], "answer": 6}


def test_keywords_are_joined() -> None:
    example = fewclue_task("csl", "").to_example({"abst": "摘要", "keyword": ["模型", "语言"], "label": "1", "id": 0})
    assert example.fields == {"abst": "摘要", "keyword": "模型、语言"}


def test_idioms_are_candidates_in_the_order_of_the_labels() -> None:
    task = fewclue_task("chid", "")
    example = task.to_example(CHID)
    assert example.candidates is not None
    assert example.candidates[task.labels.index(str(example.label))] == "庚"


def test_noun_and_pronoun_are_marked() -> None:
    fields = fewclue_task("cluewsc", "").to_example(CLUEWSC).fields
    assert fields == {
        "text": "小王说下班以后，他来做饭。",
        "marked": "_小王_说下班以后，[他]来做饭。",
        "span1": "小王",
        "span2": "他",
    }


@pytest.mark.parametrize("name", ["eprstmt", "csl", "chid", "cluewsc"])
def test_tasks_travel_to_other_processes(name: str) -> None:
    task = fewclue_task(name, "")
    assert pickle.loads(pickle.dumps(task)) == task


def test_marks_stand_right_when_the_pronoun_comes_first() -> None:
    target = {"span1_text": "小王", "span1_index": 2, "span2_text": "他", "span2_index": 0}
    example = fewclue_task("cluewsc", "").to_example({"target": target, "text": "他，小王", "label": "false"})
    assert example.fields["marked"] == "[他]，_小王_"


def test_headlines_may_lack_keywords(tmp_path: Path) -> None:
    names = [{"label": "100", "label_desc": "news_story", "label_zh": "故事"}, {"label": "101", "label_zh": "文化"}]
    write_lines(tmp_path / "tnews" / "label_index2en2zh.json", names)
    task = fewclue_task("tnews", tmp_path)
    assert (task.labels, task.label_names) == (("100", "101"), {"100": "故事", "101": "文化"})
    assert task.to_example({"sentence": "标题"}, labelled=False).fields == {"sentence": "标题", "keywords": ""}
    assert task.to_example({"sentence": "标题", "keywords": "词", "label": 101}).label == "101"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("csl", {"abst": "a", "keyword": "模型", "label": "1"}, "field 'keyword' must be a list of texts; got '模型'"),
        ("chid", CHID | {"content": "没有"}, "field 'content' must hold #idiom# once; it holds it 0 times"),
        ("chid", CHID | {"candidates": ["甲"]}, "1 candidates, where chid has 7 labels"),
        ("chid", CHID | {"candidates": "甲"}, "field 'candidates' must be a list of idioms"),
        ("cluewsc", CLUEWSC | {"text": "说下班以后，他来做饭。"}, "span1 '小王' does not stand at character 0"),
        ("cluewsc", CLUEWSC | {"target": {}}, "no field 'span1_text'; the record has none"),
    ],
)
def test_records_that_do_not_fit_are_refused(name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fewclue_task(name, "").to_example(change)


def test_missing_list_of_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"iflytek needs .*labels\.json: JSON lines with 'label' and 'short'"):
        fewclue_task("iflytek", tmp_path)
    path = write_lines(tmp_path / "iflytek" / "labels.json", [{"label": "0", "short": "打车"}, {"label": "1"}])
    with pytest.raises(ValueError, match=f"{path}, line 2: no field 'short'"):
        fewclue_task("iflytek", tmp_path)
    with pytest.raises(ValueError, match="FewCLUE has no task 'afqmc'; it has eprstmt, csldcp"):
        fewclue_task("afqmc", tmp_path)


#: Labels, training, development and public test examples; ``None`` is withheld. From the benchmark's description.
PUBLISHED = {
    "eprstmt": (2, 32, 32, 610),
    "csldcp": (67, 536, 536, 1784),
    "tnews": (15, 240, 240, 2010),
    "iflytek": (119, 928, 690, 1749),
    "ocnli": (3, 32, 32, 2520),
    "bustm": (2, 32, 32, 1772),
    "csl": (2, 32, 32, 2838),
    "chid": (7, 42, 42, 2002),
    "cluewsc": (2, 32, 32, 976),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", FEWCLUE)
def test_every_published_file_is_read(name: str, shared_data: Path) -> None:
    folder = TaskFolder(fewclue_task(name, shared_data / "fewclue"), shared_data / "fewclue" / name)
    labels, train, dev, public = PUBLISHED[name]
    assert len(folder.task.labels) == labels
    assert folder.splits() == (0, 1, 2, 3, 4)
    assert {len(folder.train(split)) for split in folder.splits()} == {train}
    assert {len(folder.dev(split)) for split in folder.splits()} == {dev}
    test = folder.test()
    assert test is None or len(test) == public
    assert all(set(example.fields) == set(folder.task.text_fields) for example in folder.dev(0))
    if name in ("csldcp", "iflytek"):
        assert {len(tag) for tag in folder.task.label_names.values()} == {2}
        assert len(set(folder.task.label_names.values())) == labels


@pytest.mark.shared
def test_line_separators_inside_real_texts_survive(shared_data: Path) -> None:
    folder = TaskFolder(fewclue_task("iflytek", shared_data / "fewclue"), shared_data / "fewclue" / "iflytek")
    texts = [example.fields["sentence"] for split in range(5) for example in folder.train(split)]
    assert any(len(text.splitlines()) > 1 for text in texts)
