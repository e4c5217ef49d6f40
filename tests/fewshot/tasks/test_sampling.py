"""Splits drawn from labelled rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.fewshot.tasks.benchmarks import task_folders
from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.fewshot.tasks.leaks import find_overlaps
from nlpkit.fewshot.tasks.sampling import draw_k_shot, write_k_shot
from nlpkit.fewshot.tasks.task import FewShotTask
from tests.fewshot.written_folders import HOTELS

ROWS = [
    {"review": f"{label} {number}", "label": label, "id": number} for number in range(40) for label in HOTELS.labels
]


@given(
    sizes=st.lists(st.integers(5, 12), min_size=2, max_size=4),
    k=st.integers(1, 3),
    dev_k=st.integers(1, 2),
    seed=st.integers(0, 99),
    repeated=st.integers(0, 6),
)
def test_draws_are_balanced_disjoint_and_repeatable(
    sizes: list[int], k: int, dev_k: int, seed: int, repeated: int
) -> None:
    labels = [f"label {label}" for label, size in enumerate(sizes) for _ in range(size)]
    keys = list(range(len(labels)))
    labels += labels[:repeated]  # the same texts again
    keys += keys[:repeated]
    train, dev = draw_k_shot(keys, labels, k, dev_k, seed)
    assert Counter(labels[number] for number in train) == dict.fromkeys(labels, k)
    assert Counter(labels[number] for number in dev) == dict.fromkeys(labels, dev_k)
    drawn = [keys[number] for number in (*train, *dev)]
    assert len(set(drawn)) == len(drawn)
    assert draw_k_shot(keys, labels, k, dev_k, seed) == (train, dev)


def test_other_seeds_draw_others() -> None:
    labels = ["a", "b"] * 50
    draws = {tuple(draw_k_shot(range(100), labels, 4, 4, seed)[0]) for seed in range(20)}
    assert len(draws) == 20


def test_texts_with_two_labels_are_never_drawn() -> None:
    keys = ["both", "both", 1, 2, 3, 4]
    labels = ["a", "b", "a", "a", "b", "b"]
    for seed in range(30):
        assert not {0, 1} & {number for part in draw_k_shot(keys, labels, 1, 1, seed) for number in part}
    with pytest.raises(ValueError, match="class 'a' has 2 different texts; 2 for training and 1 for development"):
        draw_k_shot(keys, labels, 2, 1, 0)


@pytest.mark.parametrize(("k", "dev_k"), [(0, 1), (1, 0)])
def test_there_must_be_something_to_train_and_to_select_on(k: int, dev_k: int) -> None:
    with pytest.raises(ValueError, match="both must be at least 1, because models are selected on dev"):
        draw_k_shot(range(4), ["a", "b"] * 2, k, dev_k, 0)


def test_written_splits_are_read_by_the_protocols_folder(tmp_path: Path) -> None:
    test = [ROWS[0], {"review": "ＧＯＯＤ　1", "label": "good"}]
    manifest = write_k_shot(ROWS, HOTELS, tmp_path / "out", k=4, dev_k=3, seeds=[5, 6], test=test, unlabelled=10)
    (folder,) = task_folders(tmp_path / "out")
    assert folder.task == FewShotTask("hotels", ("review",), ("bad", "good"))
    parts = {f"train{split}": folder.train(split) for split in folder.splits()}
    parts |= {f"dev{split}": folder.dev(split) for split in folder.splits()}
    parts |= {"unlabelled": folder.unlabelled() or [], "test": folder.test() or []}
    assert [len(part) for part in parts.values()] == [8, 8, 6, 6, 10, 2]
    assert all(example.label is None for example in parts["unlabelled"])
    twins = {(row.other, row.part) for row in find_overlaps(parts) if row.normalised}
    assert not {pair for pair in twins if "test" in pair or "unlabelled" in pair}
    assert not {("train0", "dev0"), ("train1", "dev1")} & twins
    assert manifest["rows_left_out_as_in_test"] == 2
    assert json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8")) == manifest
    assert [ROWS[number]["review"] for number in manifest["rows"]["train_1.json"]] == [
        example.fields["review"] for example in folder.train(1)
    ]
    assert "label" not in json.loads((tmp_path / "out" / "unlabeled.json").read_text("utf-8").split("\n")[0])


def test_names_of_labels_are_kept(tmp_path: Path) -> None:
    task = FewShotTask("hotels", ("review",), ("bad", "good"), label_names={"bad": "差", "good": "好"})
    write_k_shot(ROWS, task, tmp_path, k=1, seeds=[0])
    assert task_folders(tmp_path)[0].task == task


def test_a_folder_with_splits_is_left_alone(tmp_path: Path) -> None:
    write_k_shot(ROWS, HOTELS, tmp_path, k=1, seeds=[0])
    before = (tmp_path / "train_0.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds splits already; give another folder"):
        write_k_shot(ROWS, HOTELS, tmp_path, k=2, seeds=[1])
    assert (tmp_path / "train_0.json").read_bytes() == before


def test_nothing_is_written_when_a_class_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class 'bad' has 40 different texts; 30 for training and 30"):
        write_k_shot(ROWS, HOTELS, tmp_path / "out", k=30)
    with pytest.raises(ValueError, match=r"seeds are \[1, 1\]; give at least one, each once"):
        write_k_shot(ROWS, HOTELS, tmp_path / "out", k=1, seeds=[1, 1])
    assert not (tmp_path / "out").exists()


def test_sample_of_a_task_that_reads_by_a_function_is_not_guessed(tmp_path: Path) -> None:
    task = FewShotTask("joined", ("text",), ("0", "1"), read_fields=lambda record: {"text": "".join(record["words"])})
    rows = [{"words": [str(number)], "label": number % 2} for number in range(8)]
    write_k_shot(rows, task, tmp_path, k=1, seeds=[0])
    assert len(TaskFolder(task, tmp_path).train(0)) == 2
    with pytest.raises(ValueError, match=r"whose records need a function to be read; pass TaskFolder\(task, folder\)"):
        task_folders(tmp_path)
