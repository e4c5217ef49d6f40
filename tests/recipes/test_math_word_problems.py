"""The recipe of math word problems, end to end on a tiny T5 of characters and problems written for the test."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration
from transformers.trainer_callback import TrainerCallback

from nlpkit.runs import parse_recipe_arguments
from nlpkit.tasks.math import evaluate
from recipes import math_word_problems
from recipes.math_word_problems import MathArguments, MathTrainingArguments, main

CONFIGS = Path(math_word_problems.__file__).parent / "configs" / "math_word_problems"
SIGNS = "0123456789+-*/().:x=甲乙有个，又买来一共多少？"


def write_model(folder: Path, signs: str = SIGNS) -> None:
    """A T5 whose tokens are characters."""
    pieces = ["<pad>", "</s>", "<unk>", *signs]
    backend = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
    special = {"eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=len(pieces), **sizes, **special)).save_pretrained(folder)


def problems() -> list[dict[str, str]]:
    found = []
    for first, second in product(range(3), range(3, 6)):
        text = f"甲有{first}个，又买来{second}个，一共有多少个？"
        found.append({"original_text": text, "equation": "x=２×(1)", "ans": "2"})
    return found


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    write_model(tmp_path / "model")
    wrong = {"original_text": "甲有9个，一共有多少个？", "equation": "x=3", "ans": "2"}
    scored = {"original_text": "甲有７个，一共有多少个？", "equation": "x=2*1", "ans": "1(1/2)+1/2"}
    no_equation = {"original_text": "乙有8个，一共有多少个？", "equation": "x=2个", "ans": "2"}
    again = {**scored, "original_text": "甲有7个，一共有多少个？"}
    files = {
        "train": [wrong, again, {**wrong, "original_text": "乙有9个"}, no_equation, *problems()],
        "dev": [scored, no_equation],
        "test": [*problems()[:3], wrong],
    }
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.json").write_text(text, "utf-8")
    settings: dict[str, Any] = {f"{name}_file": tmp_path / f"{name}.json" for name in files}
    settings |= {"model": tmp_path / "model", "output_dir": tmp_path / "run", "disable_tqdm": "true"}
    settings |= {"max_steps": 80, "per_device_train_batch_size": 3, "learning_rate": 0.01, "save_steps": 20}
    return [option for name, value in settings.items() for option in (f"--{name}", str(value))]


@pytest.mark.slow
def test_seeds_are_trained_once_and_scored_with_every_number_of_beams(options: list[str], tmp_path: Path) -> None:
    first = main([*options, "--beams", "1", "2", "--seeds", "0", "1"])
    assert [(result["seed"], result["method"]) for result in first] == [
        (0, "beams 1"),
        (0, "beams 2"),
        (1, "beams 1"),
        (1, "beams 2"),
    ]
    for result in first:
        # The only equation that it can learn has the value of every answer: executed, it is right everywhere.
        assert (result["dev"], result["test"], result["test_broken"]) == (1.0, 1.0, 0.0)
        assert (result["train_rows"], result["left_out_scored"], result["left_out_inconsistent"]) == (6, 3 + 3, 1)
        assert (result["steps"], result["writable"], result["dev_rows"], result["test_rows"]) == (80, 1.0, 2, 4)
    run = tmp_path / "run"
    assert [json.loads(line) for line in (run / "results.jsonl").read_text("utf-8").splitlines()] == first
    assert "| beams 2 |" in (run / "table.md").read_text("utf-8")
    written = [json.loads(line) for line in (run / "seed-0" / "beams-1.dev.jsonl").read_text("utf-8").splitlines()]
    assert written[0]["text"] == "甲有７个，一共有多少个？"
    assert [evaluate(row["written"]) for row in written] == [2, 2]
    weights = (run / "seed-1" / "model" / "model.safetensors").stat().st_mtime_ns
    (run / "seed-1" / "beams-2.json").unlink()
    again = main([*options, "--beams", "2", "--seeds", "1"])
    assert again[0]["test"] == first[3]["test"]
    assert (run / "seed-1" / "model" / "model.safetensors").stat().st_mtime_ns == weights, "it was trained again"
    with pytest.raises(ValueError, match="made with other settings: form was 'infix' and is now 'prefix'"):
        main([*options, "--form", "prefix"])


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 30:
                raise KeyboardInterrupt

    whole = main([*options, "--beams", "1", "--output_dir", str(tmp_path / "whole")])
    cut = [*options, "--beams", "1", "--output_dir", str(tmp_path / "cut")]
    train = math_word_problems.TechniqueSeq2SeqTrainer.train

    def interrupted(self: Any, *arguments: Any, **named: Any) -> Any:
        self.add_callback(Interruption())
        return train(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(math_word_problems.TechniqueSeq2SeqTrainer, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main(cut)
    assert (tmp_path / "cut" / "seed-0" / "checkpoint-20").is_dir()
    assert not (tmp_path / "cut" / "seed-0" / "model").exists()
    resumed = main(cut)
    assert {name: resumed[0][name] for name in ("dev", "test", "steps", "train_loss")} == {
        name: whole[0][name] for name in ("dev", "test", "steps", "train_loss")
    }
    clock = json.loads((tmp_path / "cut" / "seed-0" / "checkpoint-80" / "trainer_state.json").read_text())
    assert resumed[0]["train_seconds"] == clock["stateful_callbacks"]["TrainingClock"]["attributes"]["seconds"]
    states = [
        T5ForConditionalGeneration.from_pretrained(tmp_path / folder / "seed-0" / "model").state_dict()
        for folder in ("whole", "cut")
    ]
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


def test_a_tokenizer_that_lacks_signs_is_refused(options: list[str], tmp_path: Path) -> None:
    write_model(tmp_path / "model", SIGNS.replace("*", ""))
    with pytest.raises(ValueError, match=r"6 of 6 equations are lost on the tokenizer .*: '2\*1' comes back as"):
        main(options)
    assert not (tmp_path / "run" / "results.jsonl").exists()


def test_settings_that_leave_nothing(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"beams \[0\] must be numbers from 1 on"):
        main([*options, "--beams", "0"])
    (tmp_path / "train.json").write_bytes((tmp_path / "test.json").read_bytes())
    with pytest.raises(ValueError, match=r"no equation of .* gives its answer for a problem that is not scored"):
        main(options)
    without = options[: options.index("--dev_file")] + options[options.index("--dev_file") + 2 :]
    with pytest.raises(ValueError, match="dev_rows 500 of 4 problems leave none to train on or score"):
        main(without)


def test_an_answer_in_words_is_refused_before_training(options: list[str], tmp_path: Path) -> None:
    row = {"original_text": "甲有几个？", "equation": "x=2", "ans": "两个"}
    (tmp_path / "test.json").write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(ValueError, match=r"test has an answer that nothing can be compared with.*: answer 0: '两个'"):
        main(options)
    assert not (tmp_path / "run" / "seed-0").exists()


@pytest.mark.parametrize("name", ["ape210k", "ape210k_small", "math23k_small"])
def test_settings_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = CONFIGS / f"{name}.yaml"
    monkeypatch.setenv("NLPKIT_DATA", "/data")
    settings, args = parse_recipe_arguments(
        [MathArguments, MathTrainingArguments], [str(path), "--model", "some/model"]
    )
    assert settings.beams[0] == 1 and len(settings.seeds) >= 3
    assert path.read_text("utf-8").startswith(
        f"# python recipes/math_word_problems.py {path.relative_to(path.parents[3])}"
    )
    assert Path(args.output_dir).name == name
