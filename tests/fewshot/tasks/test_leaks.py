"""Duplicates, against comparing every pair."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.fewshot.tasks.fewclue import fewclue_task
from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.fewshot.tasks.leaks import find_overlaps, leak_table, overlaps_of_splits
from nlpkit.pet import Example
from tests.fewshot.written_folders import write_hotels, write_lines
from tests.reference.overlaps import count_repetitions, count_twins

texts = st.lists(st.text(alphabet="aAＡ好 \u3000\u00a0\n１1", max_size=3), max_size=12)


def examples(found: Iterable[str], label: str | None = None) -> list[Example]:
    return [Example({"text": text}, label) for text in found]


@given(train=texts, test=texts)
def test_counts_are_those_of_comparing_every_pair(train: list[str], test: list[str]) -> None:
    within_train, across, within_test = find_overlaps({"train": examples(train), "test": examples(test)})
    assert (within_train.raw, within_train.normalised) == count_repetitions(train)
    assert (within_test.raw, within_test.normalised) == count_repetitions(test)
    assert (across.raw, across.normalised) == count_twins(test, train)
    assert (across.part, across.other, across.size) == ("test", "train", len(test))


def test_every_field_must_agree() -> None:
    pair = [Example({"left": "a", "right": "b"}), Example({"left": "ab", "right": ""})]
    across = find_overlaps({"train": pair[:1], "test": pair[1:]})[1]
    assert (across.raw, across.normalised) == (0, 0)


def test_twins_with_other_labels_are_counted_where_both_have_one() -> None:
    train = examples(["x", "y"], "1")
    test = [*examples(["x"], "0"), *examples(["y"], "1")]
    assert find_overlaps({"train": train, "test": test})[1].contradicting == 1
    assert find_overlaps({"train": train, "unlabelled": examples(["x", "y"])})[1].contradicting == 0
    assert find_overlaps({"both": [*examples(["x"], "1"), *examples(["x"], "0")]})[0].contradicting == 1


def test_table_has_one_number_a_split_where_they_differ(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    write_lines(
        tmp_path / "dev_1.json.xz", [{"review": "train1 第 0 条", "label": "bad"}, {"review": "x", "label": "bad"}]
    )
    table = leak_table({"hotels": overlaps_of_splits(folder, [0, 1]), "clean": overlaps_of_splits(folder, [0])})
    rows = [line for line in table.split("\n") if line.startswith("| hotels")]
    assert rows == ["| hotels | dev | train | 2 | 0 | 0 1 | 0 1 |"]
    assert "No duplicates in: clean." in table


@pytest.mark.shared
def test_overlaps_of_the_published_files(shared_data: Path) -> None:
    data = shared_data / "fewclue"
    folder = TaskFolder(fewclue_task("bustm", data), data / "bustm")
    (rows,) = overlaps_of_splits(folder, [0]).values()
    sizes = {row.part: row.size for row in rows}
    assert sizes == {"train": 32, "dev": 32, "unlabelled": 4251, "test": 1772}
