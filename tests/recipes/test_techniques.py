"""The comparison of losses and techniques, end to end on sentences of its own."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from nlpkit import WoBertTokenizer
from nlpkit.runs import arm_table
from nlpkit.text_files import read_records
from recipes import technique_data
from recipes.techniques import ARMS, Data, main
from tests.recipes.copies import help_of_a_copy

PLACES, PEOPLE, VERBS = ["北京", "上海", "天津"], ["小王", "小李"], ["很高兴", "来了", "没来", "很生气"]
METRICS = {"classes": "accuracy", "labels": "micro F1", "pairs": "spearman"}


def rows(task: str) -> list[dict[str, Any]]:
    found = []
    for number, (place, person, verb) in enumerate(product(PLACES, PEOPLE, VERBS)):
        row: dict[str, Any] = {"text": f"{place}{person}{verb}"}
        if task == "classes":
            row["label"] = verb
        elif task == "labels":
            row["labels"] = [place, person]
        else:
            row |= {"text_pair": f"{PLACES[number % 3]}{person}{verb}", "score": float(place == PLACES[number % 3])}
        found.append(row)
    return found


@pytest.fixture
def options(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Settings of a run of a few steps, for the task of the test."""
    task: str = request.param
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *sorted(set("".join(PLACES + PEOPLE + VERBS)))]
    WoBertTokenizer(vocab={token: number for number, token in enumerate(tokens)}).save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(tmp_path / "model")
    lines = [json.dumps(row) + "\n" for row in rows(task)]
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.jsonl").write_text("".join(lines * (4 if part == "train" else 1)), "utf-8")
    files = [f"--{part}_file={tmp_path / part}.jsonl" for part in ("train", "dev", "test")]
    settings = [f"--model={tmp_path / 'model'}", f"--task={task}", "--disable_tqdm=true", "--max_steps=2"]
    return [*files, *settings, "--metrics", METRICS[task], "--output_dir", str(tmp_path / "runs")]


@pytest.mark.slow
@pytest.mark.parametrize("options", ARMS, indirect=True)
def test_every_arm_runs(options: list[str], tmp_path: Path) -> None:
    task = next(option for option in options if option.startswith("--task=")).partition("=")[2]
    results = main([*options, "--seeds", "0", "--arms", *ARMS[task]])
    assert [result["arm"] for result in results] == list(ARMS[task])
    assert all(-1 <= result[f"{part} {METRICS[task]}"] <= 1 for result in results for part in ("dev", "test"))
    written = (tmp_path / "runs" / "results.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == results


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_an_arm_may_have_rates_of_its_own(options: list[str], tmp_path: Path) -> None:
    settings = [*options, "--seeds", "0", "--arms", "base", "base x2", "focal=1", "--learning_rate=1e-4"]
    found = main([*settings, "--rates", "base=1e-3/1e-2", "focal=3=1/1"])  # the latter is not run
    assert {row["arm"]: row["rates"] for row in found} == {
        "base": [1e-3, 1e-2],
        "base x2": [1e-3, 1e-2],
        "focal=1": [1e-4, 1e-3],
    }
    logs = {row["arm"]: tmp_path / "runs" / row["arm"].replace(" ", "-") / "seed-0" / "metrics.jsonl" for row in found}
    losses = [[json.loads(line) for line in log.read_text("utf-8").splitlines()] for log in logs.values()]
    assert losses[0] != losses[1] != losses[2]
    with pytest.raises(ValueError, match=r"now has \[0\.0001, 0\.001\]: give another output_dir"):
        main(settings)
    for wrong, told in (("base y=1/1", "names no arm"), ("1/1", "names no arm"), ("base=1e-3", "has no two numbers")):
        with pytest.raises(ValueError, match=told):
            main([*settings, "--rates", wrong])


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_it_learns_and_finished_runs_are_kept(options: list[str], tmp_path: Path) -> None:
    settings = [*options, "--max_steps=150", "--learning_rate=2e-3", "--arms", "base", "r-drop=1", "--seeds"]
    first = main([*settings, "0"])
    assert all(result["test accuracy"] > 0.9 for result in first)
    kept = json.loads((tmp_path / "runs" / "base" / "seed-0" / "result.json").read_text("utf-8"))
    (tmp_path / "runs" / "base" / "seed-0" / "result.json").write_text(json.dumps(kept | {"seconds": 99.0}), "utf-8")
    second = main([*settings, "0", "1"])
    assert [(result["arm"], result["seed"]) for result in second] == [
        ("base", 0), ("r-drop=1", 0), ("base", 1), ("r-drop=1", 1)
    ]  # fmt: skip
    assert second[0]["seconds"] == 99.0
    assert (tmp_path / "runs" / "table.md").read_text("utf-8") == arm_table(second, ["test accuracy", "dev accuracy"])
    assert "test accuracy" in (tmp_path / "runs" / "table.svg").read_text("utf-8")
    main([*settings, "0", "--arms", "base"])
    written = (tmp_path / "runs" / "results.jsonl").read_text("utf-8")
    assert written.count('"arm"') == 4  # those of the earlier calls are kept
    with pytest.raises(ValueError, match="made with other settings: max_steps was 150 and is now 151"):
        main([*settings, "0", "--max_steps=151"])


def test_the_strength_of_an_adjustment_is_the_one_that_was_named() -> None:
    data = Data(torch.tensor([0.9, 0.1]), dim=2, strength=0.5)
    arm = ARMS["classes"]["posthoc-adjusted"](data)
    assert data.has_strength and arm.adjust is not None
    torch.testing.assert_close(
        arm.adjust(torch.zeros(1, 2)), torch.tensor([[-0.5 * math.log(0.9), -0.5 * math.log(0.1)]])
    )


@pytest.mark.parametrize("options", ["classes"], indirect=True)
def test_unknown_arms_are_named(options: list[str]) -> None:
    with pytest.raises(ValueError, match=r"unknown arm 'fgn' for classes; use base, base x2"):
        main([*options, "--arms", "fgn"])
    with pytest.raises(ValueError, match=r"the strength of arm 'fgm=much' is no number"):
        main([*options, "--arms", "fgm=much"])
    with pytest.raises(ValueError, match=r"arm 'dice' has no strength, so that 'dice=9' is 'dice'"):
        main([*options, "--arms", "base", "dice=9"])
    with pytest.raises(ValueError, match=r"seeds name one twice: 0, 1, 0"):
        main([*options, "--arms", "base", "--seeds", "0", "1", "0"])
    with pytest.raises(ValueError, match=r"arms name one twice: base, base"):
        main([*options, "--arms", "base", "base"])


def test_it_runs_from_a_copy(tmp_path: Path) -> None:
    assert "--arms" in help_of_a_copy("techniques.py", tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("tnews", "clue/tnews10k"),
        ("iflytek", "clue/iflytek"),
        ("lic2020", "longtail-multilabel/lic2020-event"),
        ("toutiao", "longtail-multilabel/toutiao"),
        ("reuters", "longtail-multilabel/reuters-r52"),
        ("csl", "longtail-multilabel/csl-category"),
        ("thucnews", "longtail-multilabel/thucnews-titles"),
        ("goemotions", "longtail-multilabel/goemotions"),
        ("stsb", "similarity-zh/stsb"),
    ],
)
def test_public_sets_are_cut_without_a_text_in_two_parts(
    name: str, folder: str, tmp_path: Path, shared_data: Path
) -> None:
    technique_data.main([name, str(shared_data / folder), str(tmp_path)])
    texts = {
        part: [
            json.loads(line)[side]
            for line in (tmp_path / f"{part}.jsonl").read_text("utf-8").split("\n")
            for side in (("text", "text_pair") if name == "stsb" else ("text",))
            if line
        ]
        for part in ("train", "dev", "test")
    }
    assert all(len(found) > 300 for found in texts.values())
    assert not set(texts["train"]) & set(texts["dev"]) and not set(texts["dev"]) & set(texts["test"])
    assert not set(texts["train"]) & set(texts["test"])


@pytest.mark.shared
def test_every_class_is_trained_on_where_a_long_tail_is_cut(tmp_path: Path, shared_data: Path) -> None:
    counts: dict[str, Counter[str]] = {}
    for name, folder in (("reuters", "reuters-r52"), ("thucnews", "thucnews-titles")):
        technique_data.main([name, str(shared_data / "longtail-multilabel" / folder), str(tmp_path / name)])
        counts |= {
            f"{name} {part}": Counter(row["label"] for _, row in read_records(tmp_path / name / f"{part}.jsonl"))
            for part in ("train", "dev", "test")
        }
    assert counts["reuters train"].keys() == counts["reuters test"].keys() > counts["reuters dev"].keys()
    assert list(counts["thucnews train"].values()) == sorted(counts["thucnews train"].values(), reverse=True)
    assert len(counts["thucnews train"]) == 10 and counts["thucnews train"]["stocks"] == 8


@pytest.mark.parametrize("options", ["classes"], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--metrics", "acc"], "metrics: 'acc' is none of accuracy, balanced accuracy"),
        (["--parts", "deev"], "parts: 'deev' is none of dev, test"),
    ],
)
def test_what_is_asked_for_afterwards_is_looked_at_before(options: list[str], wrong: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        main([*options, *wrong])
