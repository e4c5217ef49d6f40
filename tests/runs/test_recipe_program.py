"""What ends a recipe that runs as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from nlpkit.runs import run_recipe
from nlpkit.sources import recipes_path

PROGRAM = """
import signal, time
from nlpkit.runs import run_recipe

signal.signal(signal.SIGINT, signal.default_int_handler)  # which processes of a shell's background are born without

def main(options):
    print(*options, flush=True)
    time.sleep(60)

run_recipe(main)
"""


def test_an_interruption_is_told_in_one_sentence() -> None:
    command = [sys.executable, "-c", PROGRAM, "--seeds", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None and program.stdout.readline() == "--seeds 0\n"
        os.kill(program.pid, signal.SIGINT)
        _, told = program.communicate(timeout=30)
    assert program.returncode == 130
    assert told == "\nInterrupted. The same command again goes on from what is finished and saved.\n"


def test_errors_are_those_of_the_recipe() -> None:
    def main(_: list[str]) -> None:
        raise ValueError("settings")

    with pytest.raises(ValueError, match="settings"):
        run_recipe(main)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in recipes_path().glob("[!_]*.py")))
def test_every_recipe_runs_so(recipe: str) -> None:
    last = (recipes_path() / f"{recipe}.py").read_text(encoding="utf-8").splitlines()[-1].strip()
    # A demonstration leaves nothing to go on with.
    assert last == ("main(sys.argv[1:])" if recipe == "demo" else "run_recipe(main)")
