"""Shipped models are found from a checkout and from an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

import nlpkit

ROOT = Path(nlpkit.__file__).resolve().parent.parent


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="no shipped model is called 'nonsense'; there are: wobert-mini-zh"):
        nlpkit.model_path("nonsense")


def test_the_shipped_model_is_small_and_complete() -> None:
    folder = nlpkit.model_path("wobert-mini-zh")
    assert folder.is_absolute()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 32_000_000
    card = (folder / "README.md").read_text("utf-8")
    assert "MIT License" in card
    assert "Held-out results" in card


def test_the_shipped_model_fills_masks_through_a_pipeline() -> None:
    folder = nlpkit.model_path("wobert-mini-zh")
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32")
    fill = pipeline("fill-mask", model=model, tokenizer=AutoTokenizer.from_pretrained(folder), top_k=20)
    words = [answer["token_str"] for answer in fill("酒店的服务态度很[MASK]。")]
    assert {"好", "差", "不错", "热情", "满意", "高"} & set(words), words


@pytest.mark.slow
def test_a_wheel_brings_the_models_along(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")})
    (wheel,) = tmp_path.glob("nlpkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = (
        "import nlpkit; from nlpkit.shipped import settings_path; "
        "print(nlpkit.model_path('wobert-mini-zh'), next(settings_path('fewclue').glob('eprstmt.yaml')), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    found = output.stdout.split()
    assert len(found) == 2 and all(Path(path).is_relative_to(tmp_path / "installed") for path in found)
