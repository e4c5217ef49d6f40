"""Finding tasks in a folder by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.fewshot.tasks.benchmarks import task_folders
from nlpkit.fewshot.tasks.fewclue import FEWCLUE
from nlpkit.fewshot.tasks.fewglue import FEWGLUE
from tests.fewshot.written_folders import write_lines

PAIR = {"sentence1": "a", "sentence2": "b", "label": "1"}


@pytest.fixture
def fewclue(tmp_path: Path) -> Path:
    write_lines(tmp_path / "bustm" / "train_0.json", [PAIR])
    return tmp_path


def test_tasks_are_found_by_name_each_once(fewclue: Path) -> None:
    (folder,) = task_folders(fewclue, ["bustm", "bustm"])
    assert (folder.task.name, folder.path) == ("bustm", fewclue / "bustm")
    assert folder.train(0)[0].label == "1"


def test_all_nine_must_be_there(fewclue: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*eprstmt with the splits of eprstmt"):
        task_folders(fewclue, ["all"])


def test_fewglue_is_recognised_by_its_folders(tmp_path: Path) -> None:
    write_lines(tmp_path / "RTE" / "train.jsonl", [{"premise": "a", "hypothesis": "b", "label": "entailment"}])
    (folder,) = task_folders(tmp_path)
    assert (folder.task.name, folder.splits(), len(folder.train(0))) == ("RTE", (0,), 1)
    with pytest.raises(ValueError, match="holds no task 'CB'; it may be one of RTE, or all"):
        task_folders(tmp_path, ["CB"])


def test_what_is_not_there_is_named(fewclue: Path) -> None:
    with pytest.raises(ValueError, match="holds no task 'afqmc'; it may be one of eprstmt"):
        task_folders(fewclue, ["afqmc"])
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere with tasks"):
        task_folders(fewclue / "nowhere")
    (fewclue / "manifest.json").write_text('{"task": "x"}')
    with pytest.raises(ValueError, match=r"manifest\.json is not a manifest that write_k_shot wrote: KeyError"):
        task_folders(fewclue)


@pytest.mark.shared
def test_published_folders_hold_every_task(shared_data: Path) -> None:
    assert tuple(folder.task.name for folder in task_folders(shared_data / "fewclue")) == FEWCLUE
    assert tuple(folder.task.name for folder in task_folders(shared_data / "fewglue-32dev")) == FEWGLUE
