"""The comparison of losses for rare classes and labels, end to end on sentences of its own."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, TrainerCallback

from nlpkit import WoBertTokenizer
from nlpkit.losses import class_priors
from nlpkit.runs import parse_recipe_arguments
from nlpkit.tasks.classification import CalibratedClassifier, TemperatureScaling
from recipes import long_tail, technique_data
from recipes.long_tail import ARMS, Data, LongTailArguments, LongTailTrainingArguments, before, main, make_arm
from tests.recipes.copies import help_of_a_copy

CONFIGS = Path(long_tail.__file__).parent / "configs" / "long_tail"
PLACES, PEOPLE, VERBS = ["北京", "上海", "天津"], ["小王", "小李"], ["很高兴", "来了", "没来", "很生气"]
#: Of each verb; limits of 2 and 4 rows make a head, a middle and a tail.
TIMES = dict(zip(VERBS, (8, 4, 3, 1), strict=True))


def rows(task: str, times: dict[str, int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for place, person, verb in product(PLACES, PEOPLE, VERBS):
        answer = {"label": verb} if task == "classes" else {"labels": [place, *([verb] if person == "小王" else [])]}
        found += [{"text": f"{place}{person}{verb}", **answer}] * times[verb]
    return found


@pytest.fixture
def options(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Settings of a run of a few steps, for the task of the test."""
    task: str = request.param
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *sorted(set("".join(PLACES + PEOPLE + VERBS)))]
    WoBertTokenizer(vocab={token: number for number, token in enumerate(tokens)}).save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(tmp_path / "model")
    for part in ("train", "dev", "test"):
        found = rows(task, TIMES if part == "train" else dict.fromkeys(VERBS, 1))
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    files = [f"--{part}_file={tmp_path / part}.jsonl" for part in ("train", "dev", "test")]
    settings = [f"--model={tmp_path / 'model'}", f"--task={task}", "--disable_tqdm=true", "--max_length=16"]
    return [*files, *settings, "--limits", "9", "20", "--output_dir", str(tmp_path / "runs")]


@pytest.mark.slow
@pytest.mark.parametrize("options", ARMS, indirect=True)
def test_every_arm_is_run_scored_and_drawn(options: list[str], tmp_path: Path) -> None:
    task = next(option for option in options if option.startswith("--task=")).partition("=")[2]
    options += [
        "--max_steps=20",
        "--learning_rate=2e-3",
        "--keep_models=true",
        "--seeds",
        "0",
        "1",
        "--arms",
        *ARMS[task],
    ]
    results = main(options)
    assert [result["arm"] for result in results] == 2 * list(ARMS[task])
    for result in results:
        assert result["temperature"] > 0 and {"test head", "test tail", "test scaled ACE"} <= result.keys()
        assert all(
            0 <= value <= 1 for name, value in result.items() if name.startswith("test ") and "Brier" not in name
        )
    by_arm = {result["arm"]: result for result in results if result["seed"] == 1}
    plain, posthoc = by_arm["plain"], by_arm["posthoc-adjusted"]
    assert (plain["test ECE"], plain["temperature"]) == (posthoc["test ECE"], posthoc["temperature"])
    assert not (tmp_path / "runs" / "posthoc-adjusted" / "seed-0" / "logits.safetensors").exists()
    table = (tmp_path / "runs" / "table.md").read_text("utf-8")
    assert "| test tail |" in table and "| test ECE | test scaled ECE | test ACE |" in table
    for picture in ("effects.svg", "classes.svg", "reliability.svg"):
        assert "plain" in (tmp_path / "runs" / picture).read_text("utf-8") or picture == "effects.svg"
    kept = CalibratedClassifier.from_pretrained(tmp_path / "runs" / "plain" / "seed-1" / "model")
    assert kept.scaling.temperature == plain["temperature"] and kept.head.max_length == 16
    assert main(options) == results


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_scores_are_made_of_kept_logits(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options += ["--max_steps=2", "--seeds", "0"]
    (first,) = main(options)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was trained before")

    monkeypatch.setattr(long_tail, "TechniqueTrainer", never)
    (tmp_path / "runs" / "plain" / "seed-0" / "result.json").unlink()
    assert main(options) == [first]
    (again,) = main([*options, "--arms", "posthoc-adjusted=0.0"])
    assert {**again, "arm": "plain"} == first
    with pytest.raises(ValueError, match=r"made with other settings: limits was \[9, 20\] and is now \[1, 2\]"):
        main([*options, "--limits", "1", "2"])
    (tmp_path / "test.jsonl").write_text('{"text": "北京小王来了", "label": "来了"}\n', "utf-8")
    (tmp_path / "runs" / "plain" / "seed-0" / "result.json").unlink()
    with pytest.raises(ValueError, match=r"seed-0 holds logits of another test file"):
        main(options)


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_an_interrupted_training_goes_on_where_it_was(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.append(state.global_step)
            if len(steps) == 5:
                raise KeyboardInterrupt

    steps: list[int] = []
    options += ["--max_steps=7", "--save_steps=4", "--learning_rate=2e-3", "--seeds", "0"]
    (expected,) = main([*options, "--output_dir", str(tmp_path / "whole")])
    trainer = long_tail.TechniqueTrainer

    def watched(**settings: Any) -> Any:
        return trainer(**{**settings, "callbacks": [*settings["callbacks"], Interruption()]})

    monkeypatch.setattr(long_tail, "TechniqueTrainer", watched)
    with pytest.raises(KeyboardInterrupt):
        main(options)
    folder = tmp_path / "runs" / "plain" / "seed-0"
    assert (folder / "checkpoint-4").is_dir()
    with pytest.raises(ValueError, match=r"made with other settings: learning_rate was"):
        main([*options, "--learning_rate=1e-3"])
    (resumed,) = main(options)
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7]
    same = [name for name in expected if name != "seconds"]
    assert {name: resumed[name] for name in same} == {name: expected[name] for name in same}
    assert not list(folder.glob("checkpoint-*"))


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_probabilities_are_for_the_classes_that_are_scored(options: list[str]) -> None:
    settings, _ = parse_recipe_arguments([LongTailArguments, LongTailTrainingArguments], options)
    data = Data(settings)
    prior, logits = class_priors(data.right["train"], 4).log(), torch.randn(5, 4)
    adjusted, posthoc = make_arm("logit-adjusted=0.5", data.answers), make_arm("posthoc-adjusted=2", data.answers)
    assert (adjusted.model, posthoc.model) == ("logit-adjusted=0.5", "plain")
    for balanced, added, removed in ((False, 0.5, 0.0), (True, 0.0, 2.0)):
        settings.balanced = balanced
        found = [before(arm, data, settings).probabilities(logits) for arm in (adjusted, posthoc)]
        torch.testing.assert_close(found[0], (logits + added * prior).softmax(dim=1))
        torch.testing.assert_close(found[1], (logits - removed * prior).softmax(dim=1))
    assert before(make_arm("focal", data.answers), data, settings) == TemperatureScaling()


@pytest.mark.parametrize("options", ["classes"], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--arms", "zlpr"], r"unknown arm 'zlpr' for classes; use plain, logit-adjusted"),
        (["--arms", "plain=1"], r"arm 'plain' has no strength, so that 'plain=1' is 'plain'"),
        (["--arms", "focal=much"], r"the strength of arm 'focal=much' is no number"),
        (["--arms", "plain", "plain"], r"arms name one twice: plain, plain"),
        (["--limits", "20"], r"limits are \[20\]: give two, such as 20 100"),
        (["--task", "labels"], r"row 0 has None as its labels: give a list of them; it has text, label"),
    ],
)
def test_mistakes_are_told_before_training(options: list[str], wrong: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        main([*options, *wrong])


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_rows_that_cannot_be_scored_are_told(options: list[str], tmp_path: Path) -> None:
    settings, _ = parse_recipe_arguments([LongTailArguments, LongTailTrainingArguments], options)
    with (tmp_path / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "天津小王没来", "label": "?"}\n')
    with pytest.warns(UserWarning, match=r"1 of 25 rows of dev have a class that training lacks"):
        Data(settings)
    with (tmp_path / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"texts": "天津小王没来", "label": "没来"}\n')
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=r"test.jsonl: row 24 has no text; it has texts"):
        Data(settings)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_settings_are_read(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLPKIT_MODELS", str(tmp_path))
    settings = CONFIGS / f"{name}.yaml"
    read, _ = parse_recipe_arguments([LongTailArguments, LongTailTrainingArguments], [str(settings)])
    assert len(read.seeds) == 5 and read.arms[0] == "plain" and f"data/techniques/{name}/" in read.train_file
    assert all(long_tail.split_arm(arm, read.task) for arm in read.arms) and name in technique_data.SETS
    assert settings.read_text("utf-8").startswith(
        f"# python recipes/long_tail.py recipes/configs/long_tail/{name}.yaml"
    )


def test_it_runs_from_a_copy(tmp_path: Path) -> None:
    assert "--keep_models" in help_of_a_copy("long_tail.py", tmp_path)
