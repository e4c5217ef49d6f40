"""Whatever users hold rows in is read row by row, in order, blank ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from nlpkit.data import plain_value, read_rows

pd = pytest.importorskip("pandas")
TEXTS, STARS = ["很好", "", "太差"], [5, 3, 1]


@pytest.mark.parametrize(
    "source",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        pd.Series(TEXTS, index=[7, 3, 5]),
        Dataset.from_dict({"text": TEXTS})["text"],
    ],
    ids=lambda source: type(source).__name__,
)
def test_sequences_are_rows(source: Any) -> None:
    assert read_rows(source) == (TEXTS, None)


@pytest.mark.parametrize("kind", ["frame", "dataset", "mapping", "jsonl", "csv"])
def test_tables_are_records_of_their_columns(kind: str, tmp_path: Path) -> None:
    columns = {"text": TEXTS, "stars": STARS}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "a.csv").write_text("text,stars\n很好,5\n,3\n太差,1\n")
    source = {
        "frame": pd.DataFrame(columns, index=[2, 0, 1]),
        "dataset": Dataset.from_dict(columns),
        "mapping": columns,
        "jsonl": tmp_path / "a.jsonl",
        "csv": tmp_path / "a.csv",
    }[kind]
    found = read_rows(source)
    assert found.columns == ("text", "stars")
    assert [{"text": row["text"], "stars": int(row["stars"])} for row in found.values] == records


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("很好", "give a list of texts, not one text"),
        (b"abc", "give a list of texts, not one text"),
        ({"text": "很好"}, "give a list of records, not one"),
        (DatasetDict({"train": Dataset.from_dict({"text": TEXTS})}), "several data sets; give one of 'train'"),
        (5, "give a list, a Series, a data frame or a data set; got 5"),
    ],
)
def test_what_holds_no_rows_is_refused(source: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        read_rows(source)


def test_columns_are_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"of one length; got {'a': 1, 'b': 2}"):
        read_rows({"a": [1], "b": [1, 2]})


def test_cells_are_as_python_has_them() -> None:
    frame = pd.DataFrame({"label": [1, None, 0]})
    assert [plain_value(value) for value in frame["label"]] == [1, None, 0]
    assert [plain_value(value) for value in (np.bool_(True), pd.NA, pd.NaT, 1.5, "a")] == [True, None, None, 1.5, "a"]


@pytest.mark.parametrize(
    "source",
    [
        pd.DataFrame([["x", "y"], ["u", "w"], ["q", "r"]], columns=["text", "text"]),
        pd.DataFrame([["x", "y"]], columns=["1", 1]),
        {"1": ["x"], 1: ["y"]},
    ],
    ids=["frame", "number", "mapping"],
)
def test_two_columns_of_one_name_are_refused(source: Any) -> None:
    with pytest.raises(ValueError, match=r"the table names the column '(text|1)' twice; rename one of them"):
        read_rows(source)
