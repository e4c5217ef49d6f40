"""Folders of splits: what is there, what is withheld, what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.fewshot.tasks.folders import TaskFolder, check_splits, parse_splits
from tests.fewshot.written_folders import HOTELS, reviews, write_hotels, write_lines


def test_parts_are_found_plain_or_compressed(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    assert folder.splits() == (0, 1)
    assert [example.label for example in folder.train(1)] == ["good", "bad", "good"]
    assert folder.dev(1)[0].fields == {"review": "dev1 第0条"}
    test, unlabelled = folder.test(), folder.unlabelled()
    assert test is not None
    assert unlabelled is not None
    assert [example.label for example in (*test, *unlabelled)] == ["bad", "bad", "good", "bad", None]


def test_withheld_test_is_absent_and_nothing_takes_its_place(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path, test=False)
    write_lines(tmp_path / "test.json", [{"review": "排行榜"}])
    assert folder.test() is None
    assert folder.fingerprint(0)["test"] == "absent"


def test_dev_of_other_splits_leaves_out_what_the_split_has_seen(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path, splits=3)
    seen = [{"review": "train0 第1条", "label": "bad"}, {"review": "dev0 第0条", "label": "good"}]
    write_lines(tmp_path / "dev_1.json.xz", [*seen, *reviews("new", ["bad"]), *reviews("dev2", ["good"])])
    assert [example.fields["review"] for example in folder.other_dev(0)] == ["new 第0条", "dev2 第0条", "dev2 第1条"]
    assert write_hotels(tmp_path / "single", splits=1).other_dev(0) == []


def test_file_without_texts_is_not_the_same_as_no_file(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    write_lines(tmp_path / "unlabeled.json", [])
    assert folder.unlabelled() == []
    (tmp_path / "unlabeled.json").unlink()
    assert folder.unlabelled() is None


def test_each_call_reads_anew(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    folder.train(0)[0].fields["review"] = "changed"
    assert folder.train(0)[0].fields["review"] == "train0 第0条"


def test_fingerprint_is_of_the_content_and_notices_a_change(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    before = folder.fingerprint(0)
    (tmp_path / "train_0.json").unlink()
    write_lines(tmp_path / "train_0.json.xz", reviews("train0", ["good", "bad", "good"]))
    assert folder.fingerprint(0) == before
    write_lines(tmp_path / "train_0.json.xz", reviews("train0", ["good", "bad", "bad"]))
    changed = {part for part, value in folder.fingerprint(0).items() if value != before[part]}
    assert changed == {"train"}
    assert folder.fingerprint(0, test=False)["test"] == "left out"


def test_empty_split_is_refused(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    write_lines(tmp_path / "train_0.json", [])
    with pytest.raises(ValueError, match=r"train_0\.json holds no examples; every split of hotels needs some"):
        folder.train(0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds neither dev_7\.json nor dev_7\.json\.xz"):
        folder.dev(7)
    with pytest.raises(ValueError, match=r"has no split \[7\]; it has \[0, 1\]"):
        check_splits(folder, [0, 7])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no train_\{split\}\.json; give the folder of a task"):
        TaskFolder(HOTELS, tmp_path / "empty").splits()
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere with the splits of hotels"):
        TaskFolder(HOTELS, tmp_path / "nowhere")


def test_two_files_of_one_part_are_refused(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path)
    write_lines(tmp_path / "train_0.json.xz", reviews("other", ["good"]))
    with pytest.raises(ValueError, match=r"train_0\.json lies beside train_0\.json\.xz; remove one of them"):
        folder.train(0)


@pytest.mark.parametrize(("text", "numbers"), [("0-4", (0, 1, 2, 3, 4)), ("3", (3,)), ("0, 2,7-8", (0, 2, 7, 8))])
def test_ranges_of_splits(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_splits(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1-b", "4-0", "1,1", "0-2,1"])
def test_other_texts_are_no_splits(text: str) -> None:
    with pytest.raises(ValueError, match=r"give (numbers and ranges|every number once)"):
        parse_splits(text)
