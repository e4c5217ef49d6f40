"""What an installation and a source distribution hold, and the versions they ask for."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nlpkit.extras import _EXTRAS

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
REQUIREMENTS = {
    Requirement(line).name: Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
}
#: What a source distribution needs so that `make check`, `make test`, `make docs` and `make bench` run from it.
PARTS = """
    .ci CONTRIBUTING.md LICENSE Makefile NOTICE README.md benchmarks constraints.txt docs mkdocs.yml models nlpkit
    pyproject.toml recipes tests
""".split()


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_distribution_has_a_name_that_is_ours() -> None:
    assert PROJECT["name"] == "nlpkit-zh"


@pytest.mark.parametrize("name", sorted(set(REQUIREMENTS) - {"tensorflow-cpu"}))
def test_lower_bounds_are_the_versions_tested_together(name: str) -> None:
    """Those of constraints.txt, which `make test` installs: an older one would be a promise that nothing keeps."""
    tested = constraints()[canonicalize_name(name)]
    (lower,) = [part.version for part in REQUIREMENTS[name].specifier if part.operator == ">="]
    assert lower == tested
    assert REQUIREMENTS[name].specifier.contains(tested)


@pytest.mark.parametrize("module", _EXTRAS)
def test_hints_name_extras_that_there_are(module: str) -> None:
    distributions = {
        "faiss": "faiss-cpu",
        "rouge_score": "rouge-score",
        "sentence_transformers": "sentence-transformers",
        "sklearn": "scikit-learn",
        "tensorflow": "tensorflow-cpu",
    }
    wanted = distributions.get(module, module)
    assert wanted in [Requirement(line).name for line in EXTRAS[_EXTRAS[module]]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    subprocess.run([*build, "-t", "wheel"], cwd=source(folder), check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "installed")
    return folder


def source(built: Path) -> Path:
    (folder,) = (built / "unpacked").iterdir()
    return folder


def run(arguments: list[str], folder: Path, path: Path) -> str:
    """The output of Python, started in a folder, with nlpkit from ``path``."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, *arguments]
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_a_source_distribution_holds_what_the_repository_holds(built: Path) -> None:
    def files(root: Path) -> set[str]:
        found = [path for part in PARTS for path in [root / part, *(root / part).rglob("*")]]
        return {str(p.relative_to(root)) for p in found if p.is_file() and "__pycache__" not in p.parts}

    assert files(source(built)) == files(ROOT)


@pytest.mark.slow
def test_tests_pass_in_an_unpacked_source_distribution(built: Path) -> None:
    some = ["tests/test_import.py", "tests/test_sources.py", "tests/cli/test_recipe.py", "tests/test_packaging.py"]
    output = run(["-m", "pytest", "-q", "-m", "not slow", *some], source(built), source(built))
    assert " passed" in output


@pytest.mark.slow
def test_a_wheel_brings_models_settings_and_recipes_along(built: Path, tmp_path: Path) -> None:
    script = (
        "import nlpkit; from nlpkit.sources import settings_path; "
        "print(nlpkit.model_path('wobert-mini-zh'), next(settings_path('fewclue').glob('eprstmt.yaml')), sep='\\n')"
    )
    found = run(["-c", script], tmp_path, built / "installed").split()
    assert len(found) == 2 and all(Path(path).is_relative_to(built / "installed") for path in found)
    listed = run(["-m", "nlpkit", "recipe", "--list"], tmp_path, built / "installed")
    assert "wobert_pretrain: " in listed and "    mini_zh\n" in listed
    program = run(["-m", "nlpkit", "recipe", "wobert_pretrain", "--show"], tmp_path, built / "installed")
    assert program == (ROOT / "recipes" / "wobert_pretrain.py").read_text("utf-8")
    assert "--max_steps" in run(["-m", "nlpkit", "recipe", "wobert_pretrain", "--help"], tmp_path, built / "installed")


@pytest.mark.slow
def test_a_wheel_says_its_name_version_and_command(built: Path) -> None:
    (folder,) = (built / "installed").glob("*.dist-info")
    found = metadata.PathDistribution(folder)
    assert (found.metadata["Name"], found.version) == ("nlpkit-zh", run_version(built))
    assert [(entry.name, entry.value) for entry in found.entry_points] == [("nlpkit", "nlpkit.cli:main")]


def run_version(built: Path) -> str:
    return run(["-c", "import nlpkit; print(nlpkit.__version__)"], built, built / "installed").strip()
