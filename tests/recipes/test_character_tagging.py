"""The tagging recipe, end to end on sentences of its own."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpkit import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer
from nlpkit.labels.spans import Span
from nlpkit.runs.recipe_arguments import parse_recipe_arguments
from nlpkit.wobert.tagging.tagging import WoBertForCharacterClassification, tag_texts
from recipes import character_tagging
from recipes.character_tagging import CharacterSegmenter, TaggingArguments, TaggingTrainingArguments, main, summarise

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Words of jieba's dictionary; each begins with a place, which no label of the whole word can say.
OPENINGS = ["中国政府", "美国政府", "法国人", "北京", "他们"]
PLACE_IN = {"中国政府": 2, "美国政府": 2, "法国人": 2, "北京": 2, "他们": 0}
ENDINGS = ["很高兴。", "在开会，", "都来了", "没有说话！"]


def write_parts(folder: Path) -> dict[str, str]:
    texts = [
        {"text": opening + ending, "spans": [[0, PLACE_IN[opening], "LOC"]] if PLACE_IN[opening] else []}
        for opening, ending in product(OPENINGS, ENDINGS)
    ]
    parts = {"train": texts * 4, "dev": texts[::2], "test": texts[1::2]}
    for name, part in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in part), "utf-8")
    return {f"{name}_file": str(folder / f"{name}.jsonl") for name in parts}


def write_model(folder: Path) -> str:
    characters = sorted(set("".join(OPENINGS + ENDINGS)))
    vocabulary = [*SPECIALS, *OPENINGS, *[character for character in characters if character not in OPENINGS]]
    WoBertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = WoBertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    WoBertForMaskedLM(config).half().save_pretrained(folder)  # as shipped models are
    return str(folder)


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tagging")
    settings: dict[str, Any] = {
        "model": write_model(folder / "model"),
        **write_parts(folder),
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 16,
        "num_train_epochs": 12,
        "save_steps": 10,
        "logging_steps": 5,
        "disable_tqdm": True,
    }
    return [option for name, value in settings.items() for option in (f"--{name}", str(value))]


def test_characters_reach_what_token_labels_cannot(common: list[str], tmp_path: Path) -> None:
    by_characters = main([*common, "--output_dir", str(tmp_path / "characters")])
    by_tokens = main([*common, "--output_dir", str(tmp_path / "tokens"), "--classify", "tokens"])
    bound = by_tokens["token_labels"]["test"]["oracle_f1"]
    assert bound == pytest.approx(0.4)  # 北京 alone of four places is a word by itself
    assert by_tokens["test"]["f1_mean"] <= bound
    assert by_characters["test"]["f1_mean"] == by_characters["test"]["recall_inside_words_mean"] == 1.0
    assert by_tokens["test"]["recall_inside_words_mean"] == 0.0
    assert by_tokens["runs"][0]["test"]["inside_words"]["gold"] > 0
    written = json.loads((tmp_path / "characters" / "results.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(by_characters))
    model_folder = tmp_path / "characters" / "seed-0" / "model"
    model = WoBertForCharacterClassification.from_pretrained(model_folder)
    tokenizer = WoBertTokenizer.from_pretrained(model_folder)
    assert tag_texts(model, tokenizer, ["中国政府很高兴。他们在开会，"]) == [[Span(0, 2, "LOC")]]


def test_model_that_reads_characters_loses_nothing_by_token_labels(common: list[str], tmp_path: Path) -> None:
    results = main(
        [*common, "--output_dir", str(tmp_path), "--classify", "tokens", "--read", "characters", "--max_steps", "1"]
    )
    assert {loss["oracle_f1"] for loss in results["token_labels"].values()} == {1.0}
    assert set(results["tokens_per_character"].values()) == {1.0}


def test_interrupted_run_ends_as_the_uninterrupted_one(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*common, "--max_steps", "20", "--seeds", "3", "4"]
    expected = main([*options, "--output_dir", str(tmp_path / "whole")])

    batches = 0
    collate = character_tagging.CharacterTaggingCollator.__call__

    def interrupt(self: Any, examples: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 15:
            raise KeyboardInterrupt
        return collate(self, examples)

    monkeypatch.setattr(character_tagging.CharacterTaggingCollator, "__call__", interrupt)
    interrupted = [*options, "--output_dir", str(tmp_path / "cut")]
    with pytest.raises(KeyboardInterrupt):
        main(interrupted)
    assert (tmp_path / "cut" / "seed-3" / "checkpoint-10").is_dir()
    assert not (tmp_path / "cut" / "results.json").exists()
    resumed = main(interrupted)
    # The second half of seed 3 and the whole of seed 4 to train, and two parts each to score.
    assert batches - 15 == 10 + 20 + 2 * 2
    assert [run["seed"] for run in resumed["runs"]] == [3, 4]
    for run, reference in zip(resumed["runs"], expected["runs"], strict=True):
        assert {name: run[name] for name in ("steps", "dev", "test")} == {
            name: reference[name] for name in ("steps", "dev", "test")
        }
    weights = [
        WoBertForCharacterClassification.from_pretrained(tmp_path / folder / "seed-3" / "model").state_dict()
        for folder in ("whole", "cut")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name])


def test_finished_seeds_are_not_trained_again(common: list[str], tmp_path: Path) -> None:
    options = [*common, "--output_dir", str(tmp_path), "--max_steps", "1"]
    first = main([*options, "--seeds", "0"])
    before = (tmp_path / "seed-0" / "result.json").stat().st_mtime_ns
    both = main([*options, "--seeds", "0", "1"])
    assert (tmp_path / "seed-0" / "result.json").stat().st_mtime_ns == before
    assert both["runs"][0] == first["runs"][0]
    assert [run["seed"] for run in both["runs"]] == [0, 1]
    with pytest.raises(ValueError, match=r"made with other settings: max_steps was 1 and is now 2"):
        main([*options, "--max_steps", "2", "--seeds", "0", "1"])


def test_summary_holds_the_mean_and_the_sample_deviation() -> None:
    assert summarise("f1", [0.5, 0.7]) == {"f1_mean": pytest.approx(0.6), "f1_std": pytest.approx(0.02**0.5)}
    assert summarise("f1", [0.5]) == {"f1_mean": 0.5, "f1_std": 0.0}


def test_missing_file_is_named(common: list[str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nowhere\.jsonl'; recipes/pfr_entities"):
        main([*common, "--train_file", "nowhere.jsonl", "--output_dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "北京", "spans": [[0, 3, "LOC"]]}', "line 2: span .* does not lie in a text of 2 characters"),
        ('{"text": "北京", "spans": [[0, 2, "LOC"', "line 2 is not JSON: "),
        ('{"spans": []}', "line 2: an example needs a string as its 'text'"),
        ('{"text": "北京"}', "has no labels for '北京'; give 'spans' or 'labels' with every text"),
    ],
)
def test_broken_line_is_named(common: list[str], tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "他们", "spans": []}\n' + line + "\n", "utf-8")
    with pytest.raises(ValueError, match=message):
        main([*common, "--train_file", str(path), "--output_dir", str(tmp_path)])


def test_character_segmenter_cuts_chinese_only() -> None:
    assert CharacterSegmenter().cut("中国GDP增长 5%") == ["中", "国", "GDP", "增", "长", " 5%"]
    assert CharacterSegmenter().cut("") == []


CONFIGS = Path(character_tagging.__file__).parent / "configs" / "character_tagging"


@pytest.mark.parametrize("name", ["words", "token_labels", "characters"])
def test_shipped_settings_are_read(name: str) -> None:
    argv = [str(CONFIGS / f"{name}.yaml")]
    settings, args = parse_recipe_arguments([TaggingArguments, TaggingTrainingArguments], argv)
    assert settings.seeds == [0, 1, 2, 3, 4]
    assert args.output_dir == f"runs/character_tagging/{name}"
