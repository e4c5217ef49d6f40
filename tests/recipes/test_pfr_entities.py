"""Reading the tagged People's Daily corpus as named entities."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from nlpkit.labels.spans import Span
from recipes.pfr_entities import join_names, main, read_line, split_by_order


@pytest.mark.parametrize(
    ("run", "people"),
    [
        (["王", "小明"], ["王小明"]),
        (["王", "明"], ["王明"]),
        (["王", "小明", "李", "力", "张", "大山"], ["王小明", "李力", "张大山"]),
        (["司马", "迁"], ["司马迁"]),
        (["欧阳", "小山"], ["欧阳小山"]),
        (["乌叶海亚"], ["乌叶海亚"]),
        (["小明", "大山"], ["小明", "大山"]),
        (["小明", "李", "力"], ["小明", "李力"]),
        (["李", "方", "小云"], ["李方小云"]),
        (["王"], ["王"]),
        (["林", "嘉（马来）"], ["林嘉（马来）"]),
    ],
)
def test_run_of_names_becomes_people(run: list[str], people: list[str]) -> None:
    assert join_names(run) == people


def test_line_becomes_text_and_entities_that_lie_where_they_should() -> None:
    example = read_line("新华社/nt 北京/ns １月/t 电/n （/w 记者/n 王/nr 小明/nr ）/w  １/2/m 河北/ns 保定/ns\n")
    assert example["text"] == "新华社北京１月电（记者王小明）１/2河北保定"
    assert [(example["text"][start:end], label) for start, end, label in example["spans"]] == [
        ("新华社", "ORG"),
        ("北京", "LOC"),
        ("王小明", "PER"),
        ("河北", "LOC"),
        ("保定", "LOC"),
    ]


def test_token_without_a_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="token '北京' has no tag; lines hold word/POS tokens"):
        read_line("新华社/nt 北京")


def test_parts_keep_their_order_leave_a_gap_and_share_no_text() -> None:
    examples = [{"text": f"第{number}行", "spans": []} for number in range(100)]
    for index in (0, 85, 95):
        examples[index] = {"text": "（附图片）", "spans": []}
    parts = split_by_order(examples, gap=3)
    assert parts["train"] == examples[:77]
    assert parts["dev"] == [*examples[80:85], examples[86]]
    assert parts["test"] == [*examples[90:95], *examples[96:]]


def test_corpus_becomes_three_files_of_json_lines(tmp_path: Path) -> None:
    lines = [f"王/nr 小明/nr 第{number}/m 次/q 到/v 北京/ns" for number in range(2000)]
    with lzma.open(tmp_path / "corpus.xz", "wt", encoding="utf-8") as file:
        file.write("\n\n".join(lines))
    main([str(tmp_path / "corpus.xz"), str(tmp_path / "out")])
    rows = {
        name: [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name in ("train", "dev", "test")
    }
    assert {name: len(part) for name, part in rows.items()} == {"train": 1500, "dev": 100, "test": 200}
    assert rows["train"][7]["text"] == "王小明第7次到北京"
    assert [Span(*span) for span in rows["train"][7]["spans"]] == [Span(0, 3, "PER"), Span(7, 9, "LOC")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dev.jsonl", "test.jsonl", "train.jsonl"]


def test_nested_names_are_kept_and_made_by_the_rule() -> None:
    example = read_line(
        "王/nr 小明/nr 、/w 乌叶海亚/nr 在/p 河北/ns 保定/ns 访问/v 中国/ns 国际/n 广播/vn 电台/n 记者/n 和/c 北京/ns "
        "市委/nt 的/u 上海/ns 人民/n",
        nested=True,
    )
    assert [(example["text"][start:end], label) for start, end, label in example["spans"]] == [
        ("王小明", "PER"),
        ("王", "SURNAME"),
        ("小明", "GIVEN"),
        ("乌叶海亚", "PER"),
        ("河北", "LOC"),
        ("河北保定", "ADDRESS"),
        ("保定", "LOC"),
        ("中国", "LOC"),
        ("中国国际广播电台", "ORG"),
        ("北京", "LOC"),
        ("北京市委", "ORG"),
        ("市委", "ORG"),
        ("上海", "LOC"),
    ]
    flat = read_line("王/nr 小明/nr 在/p 北京/ns 大学/n")
    assert {tuple(span) for span in flat["spans"]} == {(0, 3, "PER"), (4, 6, "LOC")}


@pytest.mark.shared
def test_the_corpus_has_nested_names(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(shared_data / "cws" / "pfr-199801.tagged.utf8.xz"), str(tmp_path), "--nested"])
    rows = [json.loads(line) for line in (tmp_path / "dev.jsonl").read_text("utf-8").splitlines()]
    spans = [span for row in rows for span in row["spans"]]
    inner = [
        span
        for row in rows
        for span in row["spans"]
        if any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in row["spans"])
    ]
    assert len(spans) > 5000
    assert 0.3 < len(inner) / len(spans) < 0.7
    assert "train: " in capsys.readouterr().out


def test_wrong_number_of_arguments_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["corpus.xz"])
    assert "arguments are required: folder" in capsys.readouterr().err
