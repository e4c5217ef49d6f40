"""The pages that a grid leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nlpkit.fewshot.grid.protocol import RunData, RunOutcome, run_grid
from nlpkit.fewshot.methods.baselines import majority
from nlpkit.fewshot.report.report import leak_report, write_report
from nlpkit.files import only_writer
from tests.fewshot.written_folders import write_hotels, write_lines


def broken(run: RunData) -> RunOutcome:
    raise RuntimeError("no pattern")


def test_report_has_scores_differences_cost_and_failures(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path / "hotels")
    methods = {"majority": majority, "again": majority, "broken": broken}
    results = run_grid([folder], methods, tmp_path / "out", show_progress=False)
    text = write_report(results, tmp_path / "out", baseline="majority")
    assert (tmp_path / "out" / "table.md").read_text("utf-8") == text
    assert [line for line in text.split("\n") if line.startswith("## ")] == [
        "## Test",
        "## Dev of the other splits, unseen by the runs of a split",
        "## Dev, each split's own, on which models were selected",
        "## Differences: test",
        "## Differences: dev of the other splits",
        "## Differences: each split's own dev",
        "## Cost",
        "## Failed runs",
    ]
    assert "| majority | none | 25.0 | 25.0 ± 0.0 |" in text
    assert "| hotels | again | 2 | +0.0 |" in text
    assert "- hotels/broken/split 1/seed 0: RuntimeError: no pattern" in text


def test_report_has_pictures_of_what_was_scored(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = write_hotels(tmp_path / "hotels", test=False)
    write_report(run_grid([folder], {"majority": majority}, tmp_path / "out", show_progress=False), tmp_path / "out")
    assert (tmp_path / "out" / "scores-dev.svg").is_file()
    assert (tmp_path / "out" / "scores-other_dev.svg").is_file()
    assert not (tmp_path / "out" / "scores-test.svg").exists()


def test_leaks_and_absent_parts_are_told(tmp_path: Path) -> None:
    folder = write_hotels(tmp_path / "hotels", test=False)
    clean = leak_report([folder], None, tmp_path / "out")
    assert "No duplicates in: hotels." in clean
    assert "Absent test: hotels." in clean
    assert "Absent unlabelled" not in clean
    write_lines(tmp_path / "hotels" / "dev_0.json.xz", [{"review": "train0 第0条", "label": "good"}])
    assert "| hotels | dev | train | 1 | 1 | 1 | 0 |" in leak_report([folder], [0], tmp_path / "out")
    assert "| hotels | dev | train |" in (tmp_path / "out" / "leaks.md").read_text("utf-8")


def test_leaks_of_other_tasks_and_splits_stay_on_the_page(tmp_path: Path) -> None:
    one = write_hotels(tmp_path / "hotels")
    other = replace(one, task=replace(one.task, name="inns"))
    write_lines(tmp_path / "hotels" / "dev_0.json.xz", [{"review": "train0 第0条", "label": "good"}])
    leak_report([one], [0, 1], tmp_path / "out")
    leak_report([one], [1], tmp_path / "out")
    shown = leak_report([other], [0], tmp_path / "out")
    page = (tmp_path / "out" / "leaks.md").read_text("utf-8")
    assert "hotels" not in shown and "| hotels | dev | train | 1 " in page and "inns" in page
    with only_writer(tmp_path / "out"), pytest.raises(BlockingIOError, match="is writing to"):
        leak_report([one], [0], tmp_path / "out")
    assert (tmp_path / "out" / "leaks.md").read_text("utf-8") == page
