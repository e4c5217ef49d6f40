"""Lines of results: whole, in order, and readable after anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nlpkit.fewshot.grid.results import ResultsFile, RunKey, RunResult, differences, latest_of


def result(split: int = 0, error: str | None = None, score: float = 0.5) -> RunResult:
    dev = None if error else {"accuracy": score}
    return RunResult("hotels", "majority", split, 0, "1f", dev=dev, details={"标签": "好\u2028"}, error=error)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "new" / "results.jsonl")
    assert file.read() == []
    file.append(result(0))
    file.append(result(1, error="ValueError: 坏"))
    assert file.read() == [result(0), result(1, error="ValueError: 坏")]


def test_every_cut_of_the_last_line_loses_only_that_line(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    file.append(result(0))
    first = file.path.stat().st_size
    file.append(result(1))
    whole = file.path.read_bytes()
    for size in range(first, len(whole), 7):
        file.path.write_bytes(whole[:size])
        assert file.read() == [result(0)]
        file.append(result(2))
        assert file.read() == [result(0), result(2)]


def test_a_line_the_disk_did_not_take_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    file.append(result(0))
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, line, place: write(descriptor, line[:9], place))
    with pytest.raises(OSError, match="the disk took 9 of"):
        file.append(result(1))
    assert file.path.read_bytes().endswith(b"}\n")
    assert file.read() == [result(0)]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    file.append(result(0))
    file.path.write_bytes(b'{"task": "hotels"}\n' + file.path.read_bytes())
    with pytest.raises(ValueError, match=r"results\.jsonl, line 1 is not a result with task, method, split"):
        file.read()


def test_a_run_that_ended_wins_over_failures_before_and_after() -> None:
    failed, ended = result(0, error="x"), result(0)
    key = RunKey("hotels", "majority", 0, 0)
    assert latest_of([failed, result(0, error="y")]) == {key: result(0, error="y")}
    assert latest_of([failed, ended, failed]) == {key: ended}


def test_scores_are_of_parts_that_there_are() -> None:
    assert result(score=0.25).score("dev") == 0.25
    assert result().score("test") is None
    with pytest.raises(ValueError, match="scores are of 'dev', 'other_dev', 'test'; got 'train'"):
        result().score("train")


def test_differences_name_what_came_went_and_changed() -> None:
    before = {"settings": {"pattern": "a", "k": 1}, "data": {"test": "absent"}}
    now = {"settings": {"pattern": "b", "lr": 2}, "data": {"test": "absent"}}
    assert differences(before, now) == [
        "settings.pattern was 'a' and is now 'b'",
        "settings.k was 1 and is now None",
        "settings.lr was None and is now 2",
    ]
