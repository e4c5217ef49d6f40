"""Runs a recipe as somebody does who has copied it away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

#: The checkout's own recipes are out of reach: a copy has nlpkit beside it, and no more.
PROGRAM = """
import runpy, sys
sys.modules["recipes"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def help_of_a_copy(name: str, folder: Path) -> str:
    """What ``--help`` prints of a recipe that lies in another folder."""
    copy = shutil.copy(RECIPES / name, folder)
    command = [sys.executable, "-c", PROGRAM, str(copy), "--help"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
