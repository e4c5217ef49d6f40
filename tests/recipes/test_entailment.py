"""The recipe that teaches entailment: it learns, goes on where it was, and its model is EFL's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from nlpkit.pet import ChoiceClassifier
from nlpkit.runs import MetricsLog
from recipes import entailment
from recipes.entailment import main
from tests.recipes.copies import help_of_a_copy

WORDS = ["酒店", "房间", "早餐", "服务", "公园", "天气", "学生", "图书馆"]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Pairs whose second text repeats the first, or names another thing."""
    rows = []
    for number in range(160):
        first, other = WORDS[number % 8], WORDS[(number + 1 + number // 8 % 6) % 8]
        same = number // 8 % 2 == 0
        label = "entailment" if same else ("neutral", "contradiction")[number % 2]
        rows.append({"text": f"{first}很好", "text_pair": f"{first if same else other}很好", "label": label})
    for name, part in (("train", rows[:128]), ("dev", rows[128:])):
        lines = [json.dumps(row, ensure_ascii=False) for row in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    files = [f"--{name}_file={tmp_path / name}.jsonl" for name in ("train", "dev")]
    settings = ["--num_train_epochs=12", "--learning_rate=3e-4", "--disable_tqdm=true", "--max_length=16"]
    return [*files, *settings, f"--output_dir={tmp_path / 'runs'}"]


def test_it_learns_and_its_model_answers_in_efl(options: list[str], tmp_path: Path) -> None:
    results = main(options)
    assert results["always_one_answer"] == 0.5
    assert results["accuracy"] > 0.9
    folder = tmp_path / "runs" / "model"
    assert json.loads((folder / "results.json").read_text("utf-8")) == results
    classifier = ChoiceClassifier.from_pretrained(folder, "{text}很好", {"hotel": "酒店很好", "park": "公园很好"})
    assert classifier.predict([{"text": "酒店"}, {"text": "公园"}]) == ["hotel", "park"]
    saved = AutoModelForSequenceClassification.from_pretrained(folder).classifier.weight
    assert torch.equal(classifier.model.classifier.weight, saved)


def test_an_interrupted_run_ends_as_the_whole_one(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_steps = ["--save_steps=2", "--eval_steps=2", "--eval_strategy=steps", "--save_strategy=steps"]
    short = [*options, "--max_steps=8", *by_steps]
    expected = main(short)
    steps = 0

    class Stopping(MetricsLog):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == 5:  # in the middle of the second epoch, a step after a checkpoint
                raise KeyboardInterrupt

    monkeypatch.setattr(entailment, "MetricsLog", Stopping)
    cut = [*short, f"--output_dir={tmp_path / 'cut'}"]
    with pytest.raises(KeyboardInterrupt):
        main(cut)
    assert not (tmp_path / "cut" / "model").exists()
    assert main(cut) == expected and steps == 5 + 4
    assert main(cut) == expected and steps == 5 + 4  # nothing is left to do
    weights = [load_file(tmp_path / folder / "model" / "model.safetensors") for folder in ("runs", "cut")]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_other_settings_are_refused_in_mid_run(options: list[str]) -> None:
    by_steps = [f"--{name}_strategy=steps" for name in ("eval", "save")] + ["--save_steps=2", "--eval_steps=2"]
    main([*options, "--max_steps=4", *by_steps])
    with pytest.raises(ValueError, match="made with other settings: max_length was 16 and is now 8"):
        main([*options, "--max_steps=4", "--max_length=8"])


def test_what_cannot_be_read_is_named(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no pair of .*train\.jsonl has the label 'yes'; name the right one"):
        main([*options, "--entailed=yes"])
    with (tmp_path / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "a", "label": "neutral"}\n')
    with pytest.raises(
        ValueError, match=r"dev\.jsonl, line 33: need text, text_pair and label; there is no 'text_pair'"
    ):
        main(options)
    with pytest.raises(FileNotFoundError, match=r"there is no file nothing\.jsonl"):
        main([*options, "--train_file=nothing.jsonl"])


def test_a_copy_outside_the_checkout_runs(tmp_path: Path) -> None:
    assert "--entailed" in help_of_a_copy("entailment.py", tmp_path)
