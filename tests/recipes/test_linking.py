"""The recipe of linking, end to end on sentences of its own."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpkit import EntityLinker, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.runs import parse_recipe_arguments
from recipes import linking
from recipes.linking import ARMS, LinkingArguments, LinkingTrainingArguments, main

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = ["苹果", "小米", "黑莓", "芒果", "蜜桃"]
#: What is said of a name, and which of its entities that is; of a question, none.
SAID = {"很甜": "food", "好吃": "food", "股票": "firm", "手机": "firm", "是什么": None, "怎么读": None}
OPENINGS = ["我们", "今天", ""]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("linking")
    entries = [
        {"id": f"{name}-{kind}", "name": name, "description": gloss}
        for name, (kind, gloss) in product(NAMES, [("food", "水果"), ("firm", "公司")])
    ]
    examples = []
    for opening, name, (said, kind) in product(OPENINGS, NAMES, SAID.items()):
        start = len(opening)
        links = [] if kind is None else [[start, start + 2, f"{name}-{kind}"]]
        examples.append({"text": f"{opening}{name}{said}", "links": links})
    held_out = [number for number in range(len(examples)) if number % 7 == 3]
    parts = {
        "train": [example for number, example in enumerate(examples) if number not in held_out],
        "dev": [examples[number] for number in held_out[::2]],
        "test": [examples[number] for number in held_out[1::2]],
    }
    files = {"knowledge_base": entries, **{f"{name}_file": part for name, part in parts.items()}}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = [*NAMES, *SAID, *OPENINGS[:2], "水果", "公司", "，"]
    vocabulary = [*SPECIALS, *words, *sorted(set("".join(words)) - set(words))]
    WoBertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    WoBertForMaskedLM(
        WoBertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, initializer_range=0.1, **sizes)
    ).half().save_pretrained(folder / "model")
    settings: dict[str, Any] = {
        **{name: folder / f"{name}.jsonl" for name in files},
        "model": folder / "model",
        "description_tokens": 6,
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 16,
        "save_steps": 10,
        "logging_steps": 5,
        "disable_tqdm": True,
    }
    return [option for name, value in settings.items() for option in (f"--{name}", str(value))]


@pytest.mark.slow
def test_a_model_tells_apart_what_counts_cannot(common: list[str], tmp_path: Path) -> None:
    # What is said and what a gloss means go together in a model that has read texts; a new one learns it by heart.
    learning = ["--model", "wobert-mini-zh", "--num_train_epochs", "8", "--learning_rate", "2e-4"]
    options = [*common, *learning, "--output_dir", str(tmp_path)]
    results = {row["method"]: row for row in main([*options, "--most_links", "1"])}
    assert list(results) == list(ARMS)
    scores = {arm: (results[arm]["dev"]["f1"] + results[arm]["test"]["f1"]) / 2 for arm in ARMS}
    assert scores["model"] > 0.8
    assert max(scores[arm] for arm in ARMS[:3]) < 0.5
    assert results["names"]["test"]["mention_f1"] < 1.0  # names in questions are none
    assert results["model"]["test"]["among_candidates"] == 1.0
    linker = EntityLinker.from_pretrained(tmp_path / "model" / "seed-0" / "model")
    assert [link.entity for link in linker.predict(["今天苹果很甜"])[0]] == ["苹果-food"]
    before = (tmp_path / "model" / "seed-0" / "result.json").stat().st_mtime_ns
    again = main([*options, "--most_links", "1", "--arms", "model"])
    assert again == [results["model"]]
    assert (tmp_path / "model" / "seed-0" / "result.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"made with other settings: weight_decay was"):
        main([*options, "--most_links", "1", "--weight_decay", "0.1"])


def test_counts_need_no_training_and_are_of_the_training_texts(common: list[str], tmp_path: Path) -> None:
    options = [*common, "--arms", "names", "longest", "prior", "--output_dir", str(tmp_path)]
    results = {row["method"]: row for row in main(options)}
    assert results["prior"]["threshold"] is not None
    assert results["names"]["threshold"] is None
    assert results["names"]["dev"] == results["longest"]["dev"]  # where the number of links is not given
    assert len((tmp_path / "table.md").read_text("utf-8").splitlines()) == 11
    with pytest.raises(ValueError, match="arms hold 'crf'; there are names, longest, prior, model"):
        main([*common, "--arms", "crf"])
    (tmp_path / "none.jsonl").write_text('{"text": "很甜", "links": []}\n', "utf-8")
    with pytest.raises(ValueError, match="holds no link; there is nothing to learn"):
        main([*common, "--train_file", str(tmp_path / "none.jsonl"), "--output_dir", str(tmp_path / "none")])


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*common, "--max_steps", "14", "--arms", "model", "--head_learning_rate", "1e-2"]
    (expected,) = main([*options, "--output_dir", str(tmp_path / "whole")])
    batches = 0
    collate = linking.EntityLinker.collator

    def interrupted(self: Any) -> Any:
        collator = collate(self)

        def call(rows: Any) -> Any:
            nonlocal batches
            batches += "labels" in rows[0]
            if batches == 12 and "labels" in rows[0]:
                batches += 1
                raise KeyboardInterrupt
            return collator(rows)

        return call

    monkeypatch.setattr(linking.EntityLinker, "collator", interrupted)
    cut = [*options, "--output_dir", str(tmp_path / "cut")]
    with pytest.raises(KeyboardInterrupt):
        main(cut)
    assert (tmp_path / "cut" / "model" / "seed-0" / "checkpoint-10").is_dir()
    (resumed,) = main(cut)
    assert batches <= 13 + 5  # four steps, and a batch that is fetched ahead
    same = [name for name in expected if "seconds" not in name]
    assert {name: resumed[name] for name in same} == {name: expected[name] for name in same}
    (tmp_path / "cut" / "model" / "seed-0" / "result.json").unlink()  # as if scoring had been interrupted
    (again,) = main(cut)
    assert (again["steps"], again["train_seconds"]) == (resumed["steps"], resumed["train_seconds"])
    assert again["train_seconds"] > 0


CONFIGS = Path(linking.__file__).parent / "configs" / "linking"


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_shipped_settings_are_read(name: str) -> None:
    settings, args = parse_recipe_arguments(
        [LinkingArguments, LinkingTrainingArguments], [str(CONFIGS / f"{name}.yaml")]
    )
    assert len(settings.seeds) == 5
    assert set(settings.arms) == set(ARMS)
    assert settings.most_links == 1
    assert args.output_dir == f"runs/linking/{name}"
