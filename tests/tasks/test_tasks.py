"""The room of tasks names its tasks, and loads what they need and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nlpkit import tasks

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", tasks.math.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(tasks.math, name) is not None


@pytest.mark.parametrize("name", tasks.similarity.__all__)
def test_every_public_name_of_similarity_resolves(name: str) -> None:
    assert getattr(tasks.similarity, name) is not None


@pytest.mark.parametrize("name", tasks.classification.__all__)
def test_every_public_name_of_classification_resolves(name: str) -> None:
    assert getattr(tasks.classification, name) is not None


@pytest.mark.parametrize("name", tasks.linking.__all__)
def test_every_public_name_of_linking_resolves(name: str) -> None:
    assert getattr(tasks.linking, name) is not None


def test_arithmetic_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from nlpkit.tasks.math import *;"
        "print(evaluate('1+1'), gives_its_answer(WordProblem('', '2', '2')),"
        "[name for name in ('torch', 'transformers', 'sympy', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout == "2 True []\n"
