"""The table of the benchmarks is made of their results files, and of all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


#: What can be run; the rest is imported by them.
SCRIPTS = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if 'if __name__ == "__main__":' in path.read_text("utf-8")
)


@pytest.fixture(scope="module")
def run_all() -> Iterator[ModuleType]:
    """The program, imported as the scripts import each other; afterwards none of them is found any more."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield import_module("run_all")
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


def test_the_table_is_what_the_results_files_say(run_all: ModuleType) -> None:
    committed = (BENCHMARKS / "results" / "README.md").read_text("utf-8")
    assert committed == run_all.table(), "python benchmarks/run_all.py --table-only"


def test_every_results_file_gives_headlines_and_says_where_it_is_from(run_all: ModuleType) -> None:
    for benchmark in run_all.BENCHMARKS:
        paths = benchmark.results()
        assert paths, f"{benchmark.script} has no results file"
        for path in paths:
            results: dict[str, Any] = json.loads(path.read_text("utf-8"))
            assert {"command", "measured_on"} <= set(results), path.name
            assert not {"machine", "device", "processor"} & set(results), path.name
            assert all(row.what and row.figure for row in import_module(benchmark.script).headlines(results))
            assert results["command"].startswith(f"python benchmarks/{benchmark.script}.py")


def test_every_results_file_belongs_to_one_script(run_all: ModuleType) -> None:
    found = [path for benchmark in run_all.BENCHMARKS for path in benchmark.results()]
    assert sorted(found) == sorted({*(BENCHMARKS / "results").glob("*.json"), *found})


def test_every_script_is_run_or_named(run_all: ModuleType) -> None:
    assert set(SCRIPTS) == {"run_all", *run_all.ELSEWHERE, *(benchmark.script for benchmark in run_all.BENCHMARKS)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_how_it_is_used(
    script: str, run_all: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(script).main()
    assert ended.value.code == 0
    used = capsys.readouterr().out
    assert f"python benchmarks/{script}.py" in used
    repeats = {each.script: each.repeats for each in run_all.BENCHMARKS}.get(script, False)
    assert ("--rounds" in used) == repeats
    assert "--out " in used or script in ("run_all", "techniques")


def test_a_script_that_cannot_run_says_its_status(run_all: ModuleType) -> None:
    assert run_all.run(run_all.Benchmark("no_such_script", 1), 1) == "status 2"


def test_all_together_take_less_than_25_minutes(run_all: ModuleType) -> None:
    assert sum(benchmark.seconds for benchmark in run_all.BENCHMARKS) < 25 * 60
    assert max(benchmark.seconds for benchmark in run_all.BENCHMARKS) <= 3 * 60


def test_one_that_fails_is_named_and_stops_no_other(run_all: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: dict[str, float] = {}

    def run(benchmark: Any, seconds: float) -> str:
        shares[benchmark.script] = seconds
        return "status 3" if benchmark.script == "losses" else ""

    monkeypatch.setattr(run_all, "run", run)
    chosen = [each for each in run_all.BENCHMARKS if not each.needs]
    assert run_all.run_all(chosen, 100) == {"losses": "status 3"}
    assert list(shares) == [each.script for each in chosen]
    assert all(0 < shares[each.script] <= each.seconds for each in chosen)


def test_rounds_end_with_the_budget_and_one_is_always_taken(run_all: ModuleType) -> None:
    rounds = import_module("rounds")
    for budget, expected in ((rounds.Budget(-1), (1, False)), (rounds.Budget(1e9), (3, True))):
        calls: list[str] = []
        ways = {name: partial(calls.append, name) for name in ("a", "b")}
        turns = rounds.take_turns(ways, 3, budget)
        assert (turns.rounds, turns.warmed_up) == expected
        assert calls == ["a", "b"] * (expected[0] + expected[1])
        assert {name: len(taken) for name, taken in turns.taken.items()} == {"a": expected[0], "b": expected[0]}


def test_commands_in_results_name_no_file_of_this_machine(run_all: ModuleType) -> None:
    command = import_module("report").command
    given = [
        "/home/me/benchmarks/positions.py",
        "--model",
        "/home/me/models/mini",
        "--out",
        "/tmp/x.json",
        "--rounds",
        "2",
    ]
    assert command(given) == "python benchmarks/positions.py --model mini --rounds 2"
    assert command(["losses.py", "--out=/tmp/x.json"]) == "python benchmarks/losses.py"
