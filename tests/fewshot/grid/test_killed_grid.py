"""A grid that is killed with SIGKILL goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nlpkit.fewshot.grid.results import ResultsFile
from tests.fewshot.written_folders import write_hotels

ROOT = Path(__file__).resolve().parents[3]
SPLITS = 6

#: Learns for a tenth of a second, and leaves a mark of each attempt that began.
PROGRAM = """
import sys, time
from pathlib import Path
from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.fewshot.grid.protocol import RunOutcome, run_grid
from nlpkit.fewshot.tasks.task import FewShotTask

data, output = map(Path, sys.argv[1:])

def slow(run):
    with (output / "attempts.txt").open("a") as file:
        file.write(f"{run.split}\\n")
    time.sleep(0.1)
    return RunOutcome(lambda examples: ["bad"] * len(examples))

task = FewShotTask("hotels", ("review",), ("bad", "good"))
run_grid([TaskFolder(task, data)], {"slow": slow}, output, show_progress=False)
"""


@pytest.mark.slow
def test_killed_grid_goes_on_and_repeats_only_the_run_it_was_in(tmp_path: Path) -> None:
    write_hotels(tmp_path / "data", splits=SPLITS)
    output = tmp_path / "out"
    output.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(output)]
    results = ResultsFile(output / "results.jsonl")
    attempts = output / "attempts.txt"
    kills = 0
    for wanted in (1, 3):
        process = subprocess.Popen(command, cwd=ROOT)
        while process.poll() is None and len(results.read()) < wanted:
            time.sleep(0.01)
        begun = attempts.read_text().count("\n")
        while process.poll() is None and attempts.read_text().count("\n") == begun:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        kept = results.read()
        assert [found.split for found in kept] == list(range(len(kept)))
    assert kills == 2
    before = results.path.read_bytes()
    subprocess.run(command, cwd=ROOT, check=True)
    assert results.path.read_bytes().startswith(before)
    assert [(found.split, found.test) for found in results.read()] == [
        (split, {"accuracy": 0.75}) for split in range(SPLITS)
    ]
    tried = [int(line) for line in attempts.read_text().split()]
    assert len(tried) <= SPLITS + kills
    assert sorted(set(tried)) == list(range(SPLITS))
