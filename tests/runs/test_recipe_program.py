"""What ends a recipe that runs as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def failing(error: Exception) -> Callable[[list[str]], None]:
    def main(_: list[str]) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("seeds=-1:\n give 0 or more"), "nlpkit: seeds=-1: give 0 or more (NLPKIT_DEBUG=1 shows where)\n"),
        (TypeError("no text"), "nlpkit: no text (NLPKIT_DEBUG"),
        (FileNotFoundError("there is no file a.txt"), "nlpkit: there is no file a.txt (NLPKIT_DEBUG"),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "nlpkit: No module named 'scipy'; install the"),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(
    error: Exception, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NLPKIT_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["recipe.py"])
    with pytest.raises(SystemExit, match="1"):
        run_recipe(failing(error))
    assert capsys.readouterr().err.startswith(told)
    monkeypatch.setenv("NLPKIT_DEBUG", "1")
    with pytest.raises(type(error)):
        run_recipe(failing(error))


def test_faults_of_the_program_have_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run_recipe(failing(RuntimeError("shapes")))


def test_it_is_told_how_missing_data_are_made(tmp_path: Path) -> None:
    settings = recipes_path() / "configs" / "teaforn" / "checksum.yaml"
    command = [sys.executable, str(recipes_path() / "teaforn.py"), str(settings)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1] == (
        f"nlpkit: there is no file data/teaforn/checksum/train.jsonl; the head of {settings} says how the data are "
        "made (NLPKIT_DEBUG=1 shows where)"
    )


@pytest.mark.parametrize("recipe", sorted(path.stem for path in recipes_path().glob("[!_]*.py")))
def test_every_recipe_runs_so(recipe: str) -> None:
    last = (recipes_path() / f"{recipe}.py").read_text(encoding="utf-8").splitlines()[-1].strip()
    # A demonstration leaves nothing to go on with.
    assert last == ("main(sys.argv[1:])" if recipe == "demo" else "run_recipe(main)")
