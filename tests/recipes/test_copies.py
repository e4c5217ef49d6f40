"""Recipes are to be copied: each is one file that needs nlpkit and nothing else of the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parent.parent.parent / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py") if path.stem != "__init__")
#: Runs each program but for its last lines, in a process that has no package ``recipes``, wherever it may lie.
LOAD_ALL = """
import json, runpy, sys
sys.modules["recipes"] = None
problems = {}
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="copied")
    except ImportError as error:
        problems[path] = str(error)
print(json.dumps(problems))
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stopped a copy outside the checkout from loading, by the recipe's name."""
    folder = tmp_path_factory.mktemp("elsewhere")
    copies = [shutil.copyfile(RECIPES / f"{name}.py", folder / f"{name}.py") for name in NAMES]
    command = [sys.executable, "-c", LOAD_ALL, *map(str, copies)]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {Path(path).stem: problem for path, problem in json.loads(found.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_a_recipe_needs_no_other_file_of_the_checkout(problems: dict[str, str], name: str) -> None:
    assert name not in problems, problems[name]
