"""Every method by name, from settings to predictions, with the shipped model on sentences of our own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nlpkit.fewshot.grid.protocol import RunData
from nlpkit.fewshot.methods import prompting
from nlpkit.fewshot.methods.by_name import METHODS
from nlpkit.fewshot.methods.prompt_settings import PromptSettings
from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.pet import Example
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.ipet import next_training_sets
from nlpkit.pet.training.trainer import PetTrainer

HOTELS = FewShotTask("hotels", ("review",), ("bad", "good"), label_names={"bad": "差", "good": "好"})
IDIOMS = FewShotTask("idioms", ("before",), ("0", "1"), read_candidates=lambda record: tuple(record["candidates"]))

GOOD = ["房间干净，服务热情", "早餐丰富，位置方便", "前台耐心，床很舒服", "环境安静，下次还来"]
BAD = ["空调坏了没人修，一夜没睡", "卫生间有异味，服务冷淡", "房间又小又脏，要求退房", "隔音太差，电视也没有信号"]
SETTINGS: dict[str, Any] = {
    "model": "wobert-mini-zh",
    "patterns": ["{review}，我觉得很{mask}。", "总之很{mask}。{review}"],
    "words": {"good": ["好", "不错"], "bad": ["差", "失望"]},
    "soft_pattern": "{review}{soft}{soft}{mask}",
    "fields": ["review"],
    "premise": "{review}",
    "hypotheses": "我觉得很{label}",
    "max_length": 32,
    "max_steps": 4,
    "batch_size": 4,
    "learning_rate": "1e-5",
    "growth": 2,
    "generations": 1,
    "distillation_steps": 2,
}


def reviews(good: list[str], bad: list[str]) -> tuple[Example, ...]:
    return tuple(Example({"review": text}, label) for label, texts in (("good", good), ("bad", bad)) for text in texts)


@pytest.fixture
def run(tmp_path: Path) -> RunData:
    """A run on four reviews, with four for selection and four without labels."""
    unlabelled = tuple(example.without_label() for example in reviews(GOOD[:2], BAD[:2]))
    return RunData(
        HOTELS, 0, 7, reviews(GOOD[:2], BAD[:2]), reviews(GOOD[2:], BAD[2:]), unlabelled, SETTINGS, tmp_path
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_each_example_a_label_of_the_task(name: str, run: RunData) -> None:
    texts = [example.without_label() for example in run.dev]
    predicted = METHODS[name](run).predict(texts)
    assert len(predicted) == len(texts)
    assert set(predicted) <= set(HOTELS.labels)


@pytest.mark.parametrize("name", ["fine-tuning", "pet"])
def test_a_seed_settles_what_a_method_learns(name: str, run: RunData) -> None:
    texts = reviews(GOOD, BAD)
    assert METHODS[name](run).predict(texts) == METHODS[name](run).predict(texts)


@pytest.mark.parametrize("name", ["zero-shot-calibrated", "zero-shot-masked-lm", "pet"])
def test_the_shipped_model_tells_good_from_bad_reviews(name: str, run: RunData) -> None:
    predicted = METHODS[name](run).predict(run.dev)
    assert predicted == [example.label for example in run.dev]


def test_masked_lm_training_sees_no_label_and_draws_anew_in_each_split(
    run: RunData, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, seen = PetTrainer.train, []
    monkeypatch.setattr(PetTrainer, "train", lambda own: seen.append(own) or train(own))
    for split in (0, 1):
        METHODS["zero-shot-masked-lm"](replace(run, split=split))
    assert seen[0].args.seed != seen[1].args.seed
    for trainer in seen:
        assert trainer.eval_dataset is None
        assert {row.example.label for row in trainer.train_dataset} == {None}


@pytest.mark.parametrize(("name", "times"), [("pet", 1), ("p-tuning", 1), ("lm-bff", 1), ("ipet", 4), ("adapet", 0)])
def test_what_compares_labels_starts_from_calibrated_scores(
    name: str, times: int, run: RunData, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate, calls = PetClassifier.calibrate, []
    monkeypatch.setattr(PetClassifier, "calibrate", lambda own, texts: calls.append(own) or calibrate(own, texts))
    METHODS[name](replace(run, settings=SETTINGS | {"max_steps": 1}))
    assert [classifier.prior is not None for classifier in calls] == [True] * times


@pytest.mark.parametrize("name", ["zero-shot", "fine-tuning", "pet", "pet-mlm"])
def test_examples_with_candidates_of_their_own(name: str, tmp_path: Path) -> None:
    texts = [("他的话前后不一，真是", ("自相矛盾", "一帆风顺"), "0"), ("祝你一路", ("自相矛盾", "一帆风顺"), "1")]
    examples = tuple(Example({"before": text}, label, candidates=words) for text, words, label in texts)
    settings = SETTINGS | {"patterns": ["{before}{mask}。"], "premise": "{candidate}：{before}"}
    del settings["words"], settings["hypotheses"]
    run = RunData(IDIOMS, 0, 7, examples, examples, (), settings, tmp_path)
    assert set(METHODS[name](run).predict(examples)) <= {"0", "1"}


def test_each_generation_of_ipet_learns_from_more_than_the_one_before(
    run: RunData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        prompting,
        "next_training_sets",
        lambda *args, size, **rest: sizes.append(size) or next_training_sets(*args, size=size, **rest),
    )
    METHODS["ipet"](replace(run, settings=SETTINGS | {"generations": 2, "growth": 3, "max_steps": 1}))
    assert sizes == [3 * len(run.train), 9 * len(run.train)]


@pytest.mark.parametrize(("rate", "learns"), [("3e-4", True), ("1e-9", False)])
def test_the_student_of_ipet_learns_from_its_teachers_at_its_own_rate(rate: str, learns: bool, run: RunData) -> None:
    settings = SETTINGS | {"learning_rate": 1e-9, "generations": 0, "max_steps": 1}
    settings |= {"distillation_steps": 20, "distillation_learning_rate": rate}
    predicted = METHODS["ipet"](replace(run, settings=settings)).predict(run.unlabelled)
    assert (predicted == [example.label for example in run.train]) == learns


def test_several_words_a_label_are_reduced_to_the_first() -> None:
    settings = PromptSettings(model="any", words={"good": ["好", "不错"], "bad": "差"})
    assert settings.with_first_words().words == {"good": "好", "bad": "差"}
    assert PromptSettings(model="any").with_first_words().words is None


def test_a_setting_that_means_nothing_is_refused_with_the_known_ones(run: RunData) -> None:
    with pytest.raises(ValueError, match=r"settings of hotels: unknown setting 'patern'; known are aggregate"):
        PromptSettings.of(replace(run, settings={"model": "m", "patern": "{mask}"}))


def test_methods_with_patterns_ask_for_one(run: RunData) -> None:
    with pytest.raises(ValueError, match="hold no patterns; write them into its YAML file"):
        METHODS["pet"](replace(run, settings=SETTINGS | {"patterns": []}))


def test_rates_that_yaml_reads_as_text_are_numbers(run: RunData) -> None:
    assert PromptSettings.of(run).learning_rate == 1e-5
    faster = replace(run, settings=SETTINGS | {"distillation_learning_rate": "3e-4"})
    assert PromptSettings.of(faster).distillation_learning_rate == 3e-4


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("patterns", 5, "a list of texts"),
        ("patterns", "{review}{mask}", "a list of texts"),
        ("patterns", [5], "a list of texts"),
        ("fields", "review", "a list of texts"),
        ("words", ["好"], "a mapping of labels to words"),
        ("learning_rate", "fast", "a number"),
    ],
)
def test_a_setting_of_another_kind_is_named(name: str, given: Any, wanted: str, run: RunData) -> None:
    message = re.escape(f"settings of hotels: {name}={given!r} must be {wanted}")
    with pytest.raises(ValueError, match=message):
        PromptSettings.of(replace(run, settings=SETTINGS | {name: given}))
