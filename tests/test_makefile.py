"""What `make` installs for which target, and what it leaves alone; nothing is downloaded here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*options: str) -> str:
    """What a `make` of a user's own prints, also where these tests run under `make test` themselves."""
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(["make", *options], cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def plan(target: str, folder: Path, *options: str) -> str:
    """What `make` would do on a fresh machine."""
    return make("-n", target, f"VENV={folder / 'environment'}", *options)


def installed(planned: str) -> list[str]:
    """The extras that would be installed, in order."""
    return re.findall(r"-e ('\S+'|\.)", planned)


def test_every_target_installs_what_it_needs_only(tmp_path: Path) -> None:
    assert installed(plan("demo", tmp_path)) == ["."]
    assert installed(plan("test", tmp_path)) == [".", "'.[dev,eval,peft,viz]'"]
    assert installed(plan("test-convert", tmp_path)) == [".", "'.[dev,eval,peft,viz]'", "'.[convert]'"]


def test_the_first_thing_done_is_to_say_what_is_done(tmp_path: Path) -> None:
    assert plan("demo", tmp_path).splitlines()[0].startswith('echo "Making an environment in ')
    assert (ROOT / ".ci" / "run").read_text("utf-8").index("echo ") < (ROOT / ".ci" / "run").read_text("utf-8").index(
        "make demo"
    )


def test_an_index_for_torch_is_passed_on(tmp_path: Path) -> None:
    planned = plan("demo", tmp_path, "TORCH_INDEX=https://wheels.example/cpu")
    assert "--no-deps --index-url https://wheels.example/cpu torch" in planned
    assert "--index-url" not in plan("demo", tmp_path)


@pytest.mark.slow
def test_a_torch_that_is_there_is_kept(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment)
    (packages,) = environment.glob("lib/python3*/site-packages")
    metadata = packages / "torch-9.9.9+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9+cpu\n")
    constraints = environment / "constraints.txt"
    assert make(str(constraints), f"VENV={environment}") == f"Keeping the torch that is in {environment}.\n"
    pinned = constraints.read_text("utf-8").splitlines()
    expected = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert pinned == [line for line in expected if not line.startswith("torch==")]
