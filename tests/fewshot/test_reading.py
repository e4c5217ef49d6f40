"""Files of records, well-formed and not."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.fewshot.reading import examples_of_rows, read_examples, read_records, task_of_rows
from nlpkit.fewshot.tasks import FewShotTask
from tests.fewshot.written_folders import HOTELS, write_lines


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8), suffix=st.sampled_from(["", ".xz"])
)
def test_any_text_comes_back(texts: list[str], suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("texts") / f"part.json{suffix}"
    write_lines(path, ({"review": text} for text in texts))
    assert [(number, record["review"]) for number, record in read_records(path)] == list(enumerate(texts, start=1))


def test_lines_are_split_at_newlines_only(tmp_path: Path) -> None:
    texts = ["一\u2028二", "一\x85二", "一\x1c二", "一\x0b二"]
    path = write_lines(tmp_path / "train_0.json", ({"review": text, "label": "good"} for text in texts))
    assert [example.fields["review"] for example in read_examples(path, HOTELS)] == texts


def test_blank_lines_carriage_returns_and_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"review": "a"}\r\n\r\n{"review": "b"}')
    assert list(read_records(path)) == [(1, {"review": "a"}), (3, {"review": "b"})]


def test_tables_may_hold_line_ends_inside_a_text(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text('review,label\n"一,\n二",good\n三,bad\n', encoding="utf-8")
    examples = read_examples(tmp_path / "part.csv", HOTELS)
    assert [(example.fields["review"], example.label) for example in examples] == [("一,\n二", "good"), ("三", "bad")]
    (tmp_path / "part.tsv").write_text("review\tlabel\n一,二\tgood\n", encoding="utf-8")
    assert read_examples(tmp_path / "part.tsv", HOTELS)[0].fields == {"review": "一,二"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("part.json", b'{"review": "a"}\n{"review": \n', "part.json, line 2 is not JSON: "),
        ("part.json", b'{"review": "a"}\n["a"]\n', r"part.json, line 2 must be a JSON object; it is '\[\"a\"\]'"),
        ("part.json", b'{"review": "a"}\n{"review": "\xff"}\n', "part.json, line 2 is not UTF-8; convert the file"),
        ("part.csv", b"review,label\na,good,x\n", "part.csv, line 2 has 3 columns; the first has 2"),
        ("part.csv", b'review,label\n"a,good\n', "part.csv, line 2 is not a table row"),
        ("part.json.xz", lzma.compress(b'{"a": 1}\n' * 99)[:-20], "part.json.xz is cut off or broken"),
        ("part.json.xz", b'{"review": "a"}\n', "part.json.xz is cut off or broken"),
        ("part.parquet", b"", "cannot tell how to read it; name it .json, .jsonl, .csv or .tsv"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_records(tmp_path / name))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.json"):
        list(read_records(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"review": "a", "label": "fair"},
            "part.json, line 2: label 'fair' is none of the labels of hotels: 'bad', 'go",
        ),
        ({"label": "good"}, "part.json, line 2: no field 'review'; the record has 'label'"),
        ({"review": "a"}, "part.json, line 2: no field 'label'; the record has 'review'"),
    ],
)
def test_record_of_another_task_is_named_with_its_line(tmp_path: Path, record: dict[str, str], message: str) -> None:
    path = write_lines(tmp_path / "part.json", [{"review": "a", "label": "good"}, record])
    with pytest.raises(ValueError, match=message):
        read_examples(path, HOTELS)


def test_rows_of_a_datasets_set_are_read_as_files_are(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"text": "很好", "label": 1}, {"text": "很差", "label": 0}]
    table = datasets.Dataset.from_list(rows)
    task = task_of_rows("hotels", table, ("text",))
    assert task == FewShotTask("hotels", ("text",), ("0", "1"))
    path = write_lines(tmp_path / "rows.jsonl", rows)
    assert examples_of_rows(table, task) == read_examples(path, task)


def test_labels_of_rows_are_sorted_numbers_by_value() -> None:
    rows = [json.loads(f'{{"label": {label}}}') for label in ("100", "9", '"x"')]
    assert task_of_rows("t", rows, ("text",)).labels == ("9", "100", "x")
    with pytest.raises(ValueError, match=r"column 'label' holds \['9'\]; a task needs two or more labels"):
        task_of_rows("t", rows[1:2], ("text",))
    with pytest.raises(ValueError, match="row 1: label 'x' is none of"):
        examples_of_rows(
            [{"text": "a", "label": 1}, {"text": "a", "label": "x"}], FewShotTask("t", ("text",), ("0", "1"))
        )
