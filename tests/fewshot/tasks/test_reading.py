"""Files of records, well-formed and not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlpkit.fewshot.tasks.reading import read_examples, task_of_rows
from nlpkit.fewshot.tasks.task import FewShotTask
from tests.fewshot.written_folders import HOTELS, write_lines


def test_lines_are_split_at_newlines_only(tmp_path: Path) -> None:
    texts = ["一\u2028二", "一\x85二", "一\x1c二", "一\x0b二"]
    path = write_lines(tmp_path / "train_0.json", ({"review": text, "label": "good"} for text in texts))
    assert [example.fields["review"] for example in read_examples(path, HOTELS)] == texts


def test_tables_may_hold_line_ends_inside_a_text(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text('review,label\n"一,\n二",good\n三,bad\n', encoding="utf-8")
    examples = read_examples(tmp_path / "part.csv", HOTELS)
    assert [(example.fields["review"], example.label) for example in examples] == [("一,\n二", "good"), ("三", "bad")]
    (tmp_path / "part.tsv").write_text("review\tlabel\n一,二\tgood\n", encoding="utf-8")
    assert read_examples(tmp_path / "part.tsv", HOTELS)[0].fields == {"review": "一,二"}


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
    assert [task.to_example(row) for row in table] == read_examples(path, task)


def test_labels_of_rows_are_sorted_numbers_by_value() -> None:
    rows = [json.loads(f'{{"label": {label}}}') for label in ("100", "9", '"x"')]
    assert task_of_rows("t", rows, ("text",)).labels == ("9", "100", "x")
    with pytest.raises(ValueError, match=r"column 'label' holds \['9'\]; a task needs two or more labels"):
        task_of_rows("t", rows[1:2], ("text",))
