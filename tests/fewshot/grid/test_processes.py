"""A grid that is killed with SIGKILL goes on where it was; a second one in its folder is refused."""

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


#: Says that its only run has begun, and waits for its input to end.
WAITING = """
import sys
from pathlib import Path
from nlpkit.fewshot import FewShotTask, RunOutcome, TaskFolder, run_grid

data, output = map(Path, sys.argv[1:])

def waiting(run):
    print("begun", flush=True)
    sys.stdin.read()
    return RunOutcome(lambda examples: ["bad"] * len(examples))

task = FewShotTask("hotels", ("review",), ("bad", "good"))
try:
    run_grid([TaskFolder(task, data)], {"waiting": waiting}, output, show_progress=False)
except BlockingIOError as error:
    print(error)
"""


def test_of_two_grids_in_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    write_hotels(tmp_path / "data", splits=1)
    output = tmp_path / "out"
    command = [sys.executable, "-c", WAITING, str(tmp_path / "data"), str(output)]
    first = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "begun\n"
    second = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert second.stdout.startswith(f"process {first.pid} is writing to {output}; wait for it to end, or give another")
    first.communicate()
    assert first.returncode == 0
    assert [found.error for found in ResultsFile(output / "results.jsonl").read()] == [None]
    assert subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True).stdout == b""
