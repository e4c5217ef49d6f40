"""The recipe of entities, end to end on sentences of its own."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpkit import EntityRecognizer, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.runs import parse_recipe_arguments
from recipes import entities
from recipes.entities import EntityArguments, EntityTrainingArguments, main, parse_arm

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Words of jieba's dictionary; each begins with a place, which no label of the whole word can say.
OPENINGS = {"中国政府": 2, "美国政府": 2, "法国人": 2, "北京": 2, "他们": 0}
ENDINGS = ["很高兴。", "在开会，", "都来了", "没有说话！"]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("entities")
    texts = [
        {
            "text": opening + ending,
            "spans": [[0, place, "LOC"], *([[0, 4, "ORG"]] if "政府" in opening else [])] if place else [],
        }
        for (opening, place), ending in product(OPENINGS.items(), ENDINGS)
    ]
    parts = {"train": texts * 4, "dev": texts[::2], "test": texts[1::2]}
    for name, part in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in part), "utf-8")
    characters = sorted(set("".join([*OPENINGS, *ENDINGS])))
    vocabulary = [*SPECIALS, *OPENINGS, *[one for one in characters if one not in OPENINGS]]
    WoBertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    WoBertForMaskedLM(
        WoBertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **sizes)
    ).half().save_pretrained(folder / "model")
    settings: dict[str, Any] = {
        **{f"{name}_file": folder / f"{name}.jsonl" for name in parts},
        "model": folder / "model",
        "nested": "outermost",
        "head_size": 16,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 16,
        "save_steps": 10,
        "logging_steps": 5,
        "disable_tqdm": True,
    }
    return [option for name, value in settings.items() for option in (f"--{name}", str(value))]


def test_spans_of_characters_reach_what_others_cannot(common: list[str], tmp_path: Path) -> None:
    options = [*common, "--num_train_epochs", "14", "--output_dir", str(tmp_path)]
    arms = ["global_pointer/words", "crf/words", "global_pointer/tokens", "efficient_global_pointer/characters"]
    results = {row["method"]: row for row in main([*options, "--arms", *arms])}
    assert list(results) == arms
    assert results["global_pointer/words"]["test"] == 1.0
    assert results["efficient_global_pointer/characters"]["test"] == 1.0
    inside = {arm: results[arm]["test_inside_words"] for arm in arms}
    nested = {arm: results[arm]["test_nested"] for arm in arms}
    assert inside[arms[0]]["gold"] == inside[arms[0]]["found"] > 0
    assert inside["global_pointer/tokens"]["found"] == 0  # a token cannot end inside itself
    assert nested["crf/words"]["found"] <= nested["crf/words"]["gold"] / 2  # the longest of each two
    table = (tmp_path / "table.md").read_text("utf-8")
    assert "prediction, seconds" in table.splitlines()[0]
    assert (tmp_path / "scores.svg").is_file()
    recognizer = EntityRecognizer.from_pretrained(tmp_path / "global_pointer-words" / "seed-0" / "model")
    spans = [tuple(one.span) for one in recognizer.predict(["中国政府很高兴。"])[0]]
    assert spans == [(0, 4, "ORG"), (0, 2, "LOC")]
    before = (tmp_path / "crf-words" / "seed-0" / "result.json").stat().st_mtime_ns
    again = main([*options, "--arms", "crf/words"])
    assert again == [results["crf/words"]]
    assert (tmp_path / "crf-words" / "seed-0" / "result.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"made with other settings: learning_rate was"):
        main([*options, "--learning_rate", "1e-3"])


def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        *common,
        "--max_steps",
        "14",
        "--arms",
        "efficient_global_pointer/words",
        "--head_learning_rate",
        "1e-2",
    ]
    (expected,) = main([*options, "--output_dir", str(tmp_path / "whole")])
    batches = 0
    collate = entities.EntityRecognizer.collator

    def interrupted(self: Any, **choices: Any) -> Any:
        collator = collate(self, **choices)

        def call(examples: Any) -> Any:
            nonlocal batches
            batches += 1
            if batches == 12:
                raise KeyboardInterrupt
            return collator(examples)

        return call if choices else collator

    monkeypatch.setattr(entities.EntityRecognizer, "collator", interrupted)
    cut = [*options, "--output_dir", str(tmp_path / "cut")]
    with pytest.raises(KeyboardInterrupt):
        main(cut)
    assert (tmp_path / "cut" / "efficient_global_pointer-words" / "seed-0" / "checkpoint-10").is_dir()
    (resumed,) = main(cut)
    assert batches <= 12 + 5  # four steps, and a batch that is fetched ahead
    same = [name for name in expected if "seconds" not in name]
    assert {name: resumed[name] for name in same} == {name: expected[name] for name in same}


def test_an_interruption_of_scoring_costs_no_step_and_no_second(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*common, "--max_steps", "4", "--arms", "softmax/words", "--output_dir", str(tmp_path)]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(entities, "predict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main(options)
    state = json.loads((tmp_path / "softmax-words" / "seed-0" / "checkpoint-4" / "trainer_state.json").read_text())
    seconds = state["stateful_callbacks"]["TrainingClock"]["attributes"]["seconds"]
    (resumed,) = main(options)
    assert resumed["steps"] == 4 and resumed["train_seconds"] == round(seconds, 2) > 0


def test_columns_are_read_and_arms_are_looked_at_first(common: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("北 B-LOC\n京 I-LOC\n很 O\n", "utf-8")
    files = [option for part in ("train", "dev", "test") for option in (f"--{part}_file", str(tmp_path / "a.txt"))]
    (row,) = main(
        [*common, *files, "--max_steps", "1", "--arms", "softmax/words", "--output_dir", str(tmp_path / "out")]
    )
    assert row["steps"] == 1
    with pytest.raises(ValueError, match="arms hold 'crf'; write HEAD/LAYOUT with global_pointer"):
        main([*common, "--arms", "crf"])
    (tmp_path / "none.txt").write_text("很 O\n", "utf-8")
    with pytest.raises(ValueError, match="holds no entity; there is nothing to learn"):
        main([*common, "--train_file", str(tmp_path / "none.txt"), "--output_dir", str(tmp_path / "none")])


CONFIGS = Path(entities.__file__).parent / "configs" / "entities"


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_settings_are_read(name: str) -> None:
    settings, args = parse_recipe_arguments(
        [EntityArguments, EntityTrainingArguments], [str(CONFIGS / f"{name}.yaml")]
    )
    assert len(settings.seeds) == 5
    assert all(parse_arm(arm) for arm in settings.arms)
    assert args.output_dir == f"runs/entities/{name}"
