"""The sentiment recipe, end to end on reviews written for it."""

from __future__ import annotations

import json
import lzma
from itertools import product
from pathlib import Path

import pytest
import torch

from nlpkit import PetClassifier, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.training.precision import fast_arithmetic
from recipes.pet_classification import PARTS, main, read_reviews
from tests.recipes.copies import help_of_a_copy

THINGS = ["房间", "早餐", "服务", "位置"]
PATTERNS = ["{mask}满意。{text}", "{text}{mask}满意。"]
GOOD, BAD = ["很好", "干净", "舒服", "方便"], ["很差", "太脏", "难受", "太远"]


def write_reviews(folder: Path) -> None:
    reviews = [(f"{thing}{word}。", "1") for thing, word in product(THINGS, GOOD)]
    reviews += [(f"{thing}{word}。", "0") for thing, word in product(THINGS, BAD)]
    parts = {"train": reviews[::2] + reviews[1:4:2], "valid": reviews[1::4], "test": reviews[3::4] + reviews[:2]}
    for name, part in parts.items():
        content = "".join(f"{text}\t{label}\n" for text, label in part).encode()
        if name == "test":
            (folder / "sentiment.test.data").write_bytes(content)
        else:
            (folder / f"sentiment.{name}.data.xz").write_bytes(lzma.compress(content))


def write_model(folder: Path) -> None:
    words = dict.fromkeys([*"".join([*THINGS, *GOOD, *BAD]), "。", "不", "满", "意", "满意", "很"])
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    WoBertTokenizer({token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    write_reviews(tmp_path)
    write_model(tmp_path / "model")
    options = {
        "data": tmp_path,
        "model": tmp_path / "model",
        "output_dir": tmp_path / "run",
        "labelled": 12,
        "few_shot_steps": 3,
        "masked_lm_steps": 3,
        "batch_size": 4,
        "max_length": 24,
    }
    return [f"--{name}={value}" for name, value in options.items()] + [
        *("--seeds", "0", "1"),
        *("--patterns", *PATTERNS),
        *("--trained_patterns", "1"),
    ]


def test_every_stage_is_measured_once_and_kept(settings: list[str], tmp_path: Path) -> None:
    table = main(settings)
    lines = (tmp_path / "run" / "results.jsonl").read_text("utf-8").splitlines()
    runs = [json.loads(line) for line in lines]
    assert len(runs) == 1 + 4 * 2
    assert {run["stage"] for run in runs} == {
        "zero-shot",
        "masked-lm",
        "few-shot",
        "semi-supervised",
        "fine-tuning",
    }
    measured = {
        (run["stage"], reading, asked): scores
        for run in runs
        for reading, patterns in run["accuracy"].items()
        for asked, scores in patterns.items()
    }
    trained = {("few-shot", PATTERNS[0]), ("semi-supervised", PATTERNS[0]), ("fine-tuning", "no pattern")}
    untaught = set(product(["zero-shot", "masked-lm"], ["as it is", "calibrated"], PATTERNS))
    assert set(measured) == {(stage, "as it is", asked) for stage, asked in trained} | untaught
    assert all(set(scores) == set(PARTS) for scores in measured.values())
    assert table.count("\n") == 2 + 7 * 3
    assert (
        table.splitlines()[0]
        == "| stage | part | " + " | ".join(f"`{name}`" for name in [*PATTERNS, "no pattern"]) + " |"
    )
    assert main(settings) == table
    assert (tmp_path / "run" / "results.jsonl").read_text("utf-8").splitlines() == lines


def test_the_model_as_it_is_is_read_with_and_without_its_prior(settings: list[str], tmp_path: Path) -> None:
    main([*settings, "--stages", "zero-shot", "--calibration_texts", "6"])
    (run,) = map(json.loads, (tmp_path / "run" / "results.jsonl").read_text("utf-8").splitlines())
    classifier = PetClassifier.from_pretrained(tmp_path / "model", PATTERNS[1], {"1": "很", "0": "不"}, max_length=24)
    valid, train = (list(read_reviews(tmp_path, part)) for part in ("valid", "train"))
    for reading in ("as it is", "calibrated"):
        with fast_arithmetic():
            found = classifier.predict(valid)
            classifier.calibrate([review.without_label() for review in train[:6]])
        right = [label == review.label for label, review in zip(found, valid, strict=True)]
        assert run["accuracy"][reading][PATTERNS[1]]["valid"] == sum(right) / len(right)


def test_a_run_cut_off_is_completed(settings: list[str], tmp_path: Path) -> None:
    stages = ["--stages", "zero-shot", "few-shot"]
    table = main([*settings, *stages])
    results = tmp_path / "run" / "results.jsonl"
    lines = results.read_text("utf-8").splitlines(keepends=True)
    results.write_text("".join(lines[:2]), "utf-8")
    assert main([*settings, *stages]) == table
    assert results.read_text("utf-8").splitlines(keepends=True) == lines


def test_what_cannot_be_read_is_named(settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage 'one-shot'; stages are zero-shot"):
        main([*settings, "--stages", "one-shot"])
    with pytest.raises(FileNotFoundError, match=r"holds no sentiment.train.data, nor sentiment.train.data.xz"):
        list(read_reviews(tmp_path / "model", "train"))
    (tmp_path / "sentiment.valid.data").write_text("好\t1\n坏 0\n", "utf-8")
    with pytest.raises(ValueError, match=r"sentiment.valid.data, line 2: need a text, a tab, and 0 or 1"):
        list(read_reviews(tmp_path, "valid"))


def test_a_folder_of_other_settings_is_refused(settings: list[str]) -> None:
    main([*settings, "--stages", "zero-shot"])
    with pytest.raises(ValueError, match="made with other settings: max_length was 24 and is now 20"):
        main([*settings, "--stages", "zero-shot", "--max_length", "20"])


def test_a_copy_outside_the_checkout_runs(tmp_path: Path) -> None:
    assert "--masked_lm_steps" in help_of_a_copy("pet_classification.py", tmp_path)
