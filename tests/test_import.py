from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nlpkit
from nlpkit import training

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, nlpkit; print([m for m in ('torch', 'transformers', 'tokenizers', 'numpy') if m in sys.modules])"
    )
    assert run_python(code) == "[]\n"


@pytest.mark.parametrize("name", ["PetClassifier", "HeadClassifier", "ChoiceClassifier"])
def test_a_classifier_that_only_predicts_loads_no_trainer(name: str) -> None:
    """It would take longer than many predictions do."""
    slow = "[module for module in ('transformers.trainer', 'peft') if module in sys.modules]"
    assert run_python(f"import sys; from nlpkit.pet import {name}; print({slow})") == "[]\n"


@pytest.mark.parametrize("name", nlpkit.__all__)
def test_every_public_name_resolves(name: str) -> None:
    found = getattr(nlpkit, name)
    assert name == "__version__" or found.__name__ in (name, f"nlpkit.{name}")


def test_rooms_need_no_import_of_their_own() -> None:
    rooms = {stub.parent.name for stub in ROOT.glob("nlpkit/*/__init__.pyi")}
    assert rooms <= set(nlpkit.__all__)
    code = f"import nlpkit; print([getattr(nlpkit, room).__name__ for room in {sorted(rooms)}])"
    assert run_python(code) == f"{[f'nlpkit.{room}' for room in sorted(rooms)]}\n"


def test_public_names_are_listed() -> None:
    assert set(nlpkit.__all__) <= set(dir(nlpkit))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No nlpkit attribute WoBertTokeniser"):
        nlpkit.WoBertTokeniser  # noqa: B018


def test_what_help_names_can_be_imported_from_the_room() -> None:
    public = {name: getattr(training, name) for name in dir(training)}
    classes = [found for found in public.values() if isinstance(found, type)]
    bases = {base for found in classes for base in found.__mro__ if base.__module__.startswith("nlpkit.training")}
    assert {base.__name__ for base in bases} <= public.keys()
    assert {"Technique", "Run", "Host", "Batch", "Items", "Terms"} <= public.keys()  # of the methods of a technique
