"""Means and deviations of several runs per method, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.runs import method_table, plot_methods

PARTS = ("dev", "test")


def test_the_table_has_mean_deviation_and_share() -> None:
    def result(method: str, dev: float, test: float) -> dict[str, Any]:
        common = {"metric": "accuracy", "trained_parameters": 1000, "train_seconds": 2.0}
        return {"method": method, "dev": dev, "test": test, **common}

    results = [result("full", 0.8, 0.7), result("full", 0.9, 0.7), result("head", 0.75, 0.35)]
    table = method_table(results, PARTS, baseline="full")
    assert "| method | trained parameters | runs | dev accuracy | of full | test accuracy | of full |" in table
    assert "| full | 1,000 | 2 | 85.00 ± 7.07 | 100.0% | 70.00 ± 0.00 | 100.0% | 2 |" in table
    assert "| head | 1,000 | 1 | 75.00 | 88.2% | 35.00 | 50.0% | 2 |" in table


def test_the_picture_has_every_method_and_is_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    common = {"metric": "accuracy", "trained_parameters": 1000}
    results = [
        {"method": method, "dev": 0.5, "test": score, "train_seconds": seconds, **common}
        for method, seconds in (("full", 200.0), ("ladder-random+cache", 50.0))
        for score in (0.8, 0.9)
    ]
    plot_methods(results, "test", tmp_path / "quality.svg")
    picture = (tmp_path / "quality.svg").read_text("utf-8")
    for text in ("full", "ladder-random+cache", "accuracy on test, %", "training, seconds"):
        assert text in picture
    plot_methods(results, "test", tmp_path / "quality.svg")
    assert (tmp_path / "quality.svg").read_text("utf-8") == picture
    assert "activations" not in picture
    plot_methods([{**run, "activation_bytes": 2**20} for run in results], "test", tmp_path / "quality.svg")
    assert "activations kept for a step, MiB" in (tmp_path / "quality.svg").read_text("utf-8")


@pytest.mark.parametrize("seconds", [(0.0, 0.0), (0.0, 3.0), (2.0, 2.0)])
def test_runs_too_short_to_time_have_a_picture(seconds: tuple[float, float], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = {"metric": "F1", "trained_parameters": 1, "dev": 0.5}
    results = [{**run, "method": f"of {number}", "train_seconds": one} for number, one in enumerate(seconds)]
    plot_methods(results, "dev", tmp_path / "quality.svg")
    assert "of 1" in (tmp_path / "quality.svg").read_text("utf-8")


def test_without_the_baseline_there_are_no_shares_and_parts_without_scores_are_left_out() -> None:
    run = {"method": "head", "metric": "F1", "trained_parameters": 1, "train_seconds": 1.0, "dev": 0.5}
    assert method_table([run], PARTS, baseline="full").splitlines()[-1] == "| head | 1 | 1 | 50.00 |  | 1 |"


def test_what_the_processor_worked_is_shown_where_all_runs_have_it() -> None:
    run = {"method": "head", "metric": "F1", "trained_parameters": 1, "train_seconds": 9.0, "dev": 0.5}
    worked = {**run, "train_cpu_seconds": 4.0}
    assert method_table([worked, worked], PARTS, baseline="head").splitlines()[0].endswith("processor seconds |")
    assert method_table([worked, worked], PARTS, baseline="head").splitlines()[-1].endswith("| 4 |")
    assert method_table([worked, run], PARTS, baseline="head").splitlines()[-1].endswith("| 9 |")
