"""The evaluation recipe, end to end on a small model and treebanks written for the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpkit.perturbed_masking import (
    ImpactFolder,
    MaskedEncoder,
    MeanWordLength,
    Measure,
    PerturbedMasking,
    least_distorted,
    right_chain,
    score_heads,
)
from nlpkit.runs import parse_recipe_arguments
from recipes import perturbed_masking
from recipes.perturbed_masking import TASKS, EvaluationArguments, best_by_layer, main
from tests.perturbed_masking.small_models import bert, tokenizer

TREES = [
    (["the", "cat", "sat"], [2, 3, 0]),
    (["cats", "sat", "on", "the", "mats"], [2, 0, 5, 5, 2]),
    (["今天", "天气", "不错", "。"], [2, 3, 0, 3]),
    (["我们", "去", "吧"], [2, 0, 2]),
    (["the", "cats", "sat", "unhappily"], [2, 3, 0, 3]),
    (["今天"] * 9, [0] + [1] * 8),
]
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(perturbed_masking.__file__).parent / "configs" / "perturbed_masking"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    bert(initializer_range=0.1).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    blocks = [
        "".join(
            f"{n}\t{word}\t_\t_\t_\t_\t{head}\tdep\t_\t_\n"
            for n, (word, head) in enumerate(zip(*tree, strict=True), 1)
        )
        for tree in TREES
    ]
    (folder / "dev.conllu").write_text("\n".join(blocks), "utf-8")
    (folder / "test.conllu").write_text("\n".join(blocks[:3]), "utf-8")
    (folder / "words.txt").write_text("今天 天气 不错 。\n我们 去 吧\n天气 今天 不错 ，\n", "utf-8")
    trees = [
        "(S (NP (DT the) (NN cat)) (VP (VBD sat) (ADVP (RB unhappily) (RB on))))",
        "(S (NP (NN cat)) (VP (VBD sat)))",
    ]
    (folder / "trees.mrg").write_text("\n".join(trees * 2), "utf-8")
    return {path.name: str(path) for path in folder.iterdir()}


def options(files: dict[str, str], output: Path, task: str, dev: str, test: str, *more: str) -> list[str]:
    settings = {"task": task, "models": f"small={files['model']}", "dev_file": files[dev]}
    settings |= {"test_files": f"held out={files[test]}", "output_dir": str(output), "bf16": "false"}
    return [option for name, value in settings.items() for option in (f"--{name}", value)] + list(more)


def test_what_is_best_on_dev_is_scored_on_test(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = options(
        files, tmp_path, "dependencies", "dev.conllu", "test.conllu", "--max_words", "8", "--merges", "mean"
    )
    rows = main(argv)
    grid = [row for row in rows if row["stage"] == "grid" and row["model"] == "small" and row["group"] == "root found"]
    assert len(grid) == 3 * 2 * 2 * 6  # layers, distances, decoders, ways to prepare
    assert all(row["sentences"] == 5 for row in grid)  # one is too long
    best = max(grid, key=lambda row: row["uas"])
    chosen = [row for row in rows if row["stage"] == "chosen" and row["model"] == "small"]
    held_out = next(row for row in chosen if row["data"] == "held out" and row["group"] == "root found")
    setting = ("layer", "distance", "merge", "decoder")
    assert [held_out[name] for name in setting] == [best[name] for name in setting]

    masking = PerturbedMasking.from_pretrained(files["model"], device="cpu", show_progress=False)
    measure = Measure(best["layer"], best["distance"], best["merge"])
    task = TASKS["dependencies"]
    decoder = next(one for one in task.decoders() if (one.group, one.name) == ("root found", best["decoder"]))
    matrices = [found.matrices[0] for found in masking.iter_measures([words for words, _ in TREES[:3]], [measure])]
    examples = list(task.read(Path(files["test.conllu"]), True))
    heads = task.predict(decoder, examples, task.prepare(decoder, examples, matrices), {})
    counts = [score_heads(gold, found) for (_, gold), found in zip(TREES[:3], heads, strict=True)]
    assert held_out["uas"] == sum(score.directed for score in counts) / sum(score.words for score in counts)

    chain = next(row for row in rows if row["decoder"] == "right chain" and row["data"] == "held out")
    chains = [score_heads(gold, right_chain(len(gold))) for _, gold in TREES[:3]]
    assert chain["uas"] == sum(score.directed for score in chains) / 12
    twin = [row for row in rows if row["model"] == "small, random weights" and row["stage"] == "grid"]
    # With either root; both decoders as published; with either root, leaning, two ways to prepare.
    assert len(twin) == 2 * len(grid) + 3 * 2 * 2 + 2 * 3 * 2 * 2
    leaning = [row["learnt"] for row in chosen if row["group"] == "root found, leaning on neighbours"]
    assert leaning[0] == leaning[1] and set(leaning[0]) == {"before", "after"}  # learnt on dev, kept for the test
    table = (tmp_path / "results.md").read_text("utf-8")
    assert f"| small | {measure.layer} | {measure.distance} | mean | {best['decoder']}, root found |" in table
    assert "Sentences of at most 8 words; punctuation counts." in table
    picture = (tmp_path / "layers.svg").read_text("utf-8")
    assert picture.count(">small</text>") == 1 and picture.count(">small, random weights</text>") == 1
    assert [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()] == rows

    def never(*_: Any) -> None:
        raise AssertionError("all is on disk")

    monkeypatch.setattr(MaskedEncoder, "states", never)
    assert main(argv) == rows
    with pytest.raises(ValueError, match="max_words was 8 and is now 7"):
        main([*argv, "--max_words", "7"])


def test_the_picture_shows_the_best_of_each_layer() -> None:
    rows = [{"layer": 2, "uas": 0.3}, {"layer": 1, "uas": 0.2}, {"layer": 2, "uas": 0.4}]
    assert best_by_layer(rows, "uas") == {1: 0.2, 2: 0.4}


def test_what_stands_in_two_files_is_measured_once(files: dict[str, str], tmp_path: Path) -> None:
    argv = options(files, tmp_path, "dependencies", "dev.conllu", "test.conllu", "--random_twins", "false")
    both = [f"held out={files['test.conllu']}", f"all={files['dev.conllu']}"]
    rows = main([*argv, "--layers", "2", "--distances", "cosine", "--test_files", *both])
    chosen = {(row["data"], row["group"]): row["uas"] for row in rows if row["stage"] == "chosen"}
    assert chosen["all", "root found"] == chosen["dev", "root found"]
    assert len(list(ImpactFolder(tmp_path / "impact" / "small" / "test"))) == len(TREES)


def test_segmentation_learns_its_threshold_on_dev_alone(files: dict[str, str], tmp_path: Path) -> None:
    argv = options(
        files, tmp_path, "segmentation", "words.txt", "words.txt", "--random_twins", "false", "--layers", "3"
    )
    rows = main([*argv, "--distances", "euclidean", "--merges", "vectors"])
    chosen = {row["group"]: row for row in rows if row["stage"] == "chosen" and row["data"] == "held out"}
    tuned = chosen["threshold of dev"]
    assert tuned["f1"] >= chosen["threshold of the texts"]["f1"]  # the same texts here
    masking = PerturbedMasking.from_pretrained(files["model"], device="cpu", show_progress=False)
    gold = [line.split() for line in Path(files["words.txt"]).read_text("utf-8").splitlines()]
    texts = ["".join(words) for words in gold]
    threshold = tuned["learnt"]["threshold"]
    hits = sum(
        len({*spans(one)} & {*spans(two)}) for one, two in zip(gold, masking.segment(texts, threshold), strict=True)
    )
    assert tuned["recall"] == hits / sum(map(len, gold))
    other = next(row for row in rows if row["stage"] == "grid" and row["decoder"] == "relative, mean word of 1.5")
    found = masking.segment(texts, MeanWordLength(1.5))
    hits = sum(len({*spans(one)} & {*spans(two)}) for one, two in zip(gold, found, strict=True))
    assert other["recall"] == hits / sum(map(len, gold))


def spans(words: list[str]) -> list[tuple[int, int]]:
    ends = np.cumsum([len(word) for word in words]).tolist()
    return list(zip([0, *ends], ends, strict=False))


def test_constituents_of_one_file_in_two_parts(files: dict[str, str], tmp_path: Path) -> None:
    argv = options(files, tmp_path, "constituents", "trees.mrg", "trees.mrg", "--random_twins", "false")
    rows = main([*argv, "--dev_every", "2", "--distances", "cosine", "--merges", "max", "--layers", "1"])
    right = {row["data"]: row for row in rows if row["decoder"] == "right branching"}
    assert {data: row["sentences"] for data, row in right.items()} == {"dev": 2, "held out": 2}
    assert right["dev"]["mean f1"] == right["dev"]["mean f1 to 10 words"] == 2 / 3
    assert not [row for row in rows if row["stage"] == "vote"]  # it takes every layer
    chosen = {(row["data"], row["group"]): row for row in rows if row["stage"] == "chosen"}
    groups = {"biased to the right", "biased to the right, as published", "unbiased", "leaning to the right"}
    assert set(chosen) == set(product(("dev", "held out"), groups))
    leaning = [chosen[data, "leaning to the right"]["learnt"] for data in ("dev", "held out")]
    assert leaning[0] == leaning[1] and set(leaning[0]) == {"right_bonus"}  # learnt on dev, kept for the test
    assert chosen["dev", "leaning to the right"]["f1"] >= right["dev"]["f1"]


def test_distortion_is_tuned_on_dev_and_kept_on_disk(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = options(files, tmp_path, "constituents", "trees.mrg", "trees.mrg")
    argv += ["--distances", "euclidean", "--merges", "vectors", "--distortion", "true"]
    every = [row for row in main(argv) if not row["model"].endswith("random weights")]  # these are left out of it
    votes = [row for row in every if row["stage"] == "vote"]
    assert [(row["data"], row["layer"]) for row in votes] == [("dev", "all"), ("held out", "all")]
    rows = [row for row in every if row["stage"] == "distortion"]
    assert len(rows) == 2 * 4 and {row["layer"] for row in rows} > {"all"}
    masking = PerturbedMasking.from_pretrained(files["model"], device="cpu", show_progress=False)
    examples = list(TASKS["constituents"].read(Path(files["trees.mrg"]), True))
    published, leaning = rows[0], rows[1]
    assert leaning["f1"] >= published["f1"]
    sentences = [one.sentence for one in examples]
    tables = [found.tables[0] for found in masking.iter_distortions(sentences, [published["layer"]])]
    task = TASKS["constituents"]
    assert published["f1"] == task.main_score(examples, [least_distorted(table) for table in tables])
    assert votes[0]["f1"] == task.main_score(examples, masking.constituents(sentences))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("all is on disk")

    (tmp_path / "results.jsonl").unlink()
    monkeypatch.setattr(PerturbedMasking, "iter_distortions", never)
    again = [row for row in main(argv) if row["stage"] == "distortion"]
    assert again == rows


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_settings_are_read(path: Path) -> None:
    (settings,) = parse_recipe_arguments([EvaluationArguments], [str(path)])
    assert settings.task in TASKS
    assert settings.output_dir == f"runs/perturbed_masking/{path.stem}"
    assert path.read_text("utf-8").startswith(
        f"# python recipes/perturbed_masking.py {path.relative_to(CONFIGS.parents[2])}"
    )


def test_a_file_without_short_sentences_is_named(files: dict[str, str], tmp_path: Path) -> None:
    argv = options(files, tmp_path, "dependencies", "dev.conllu", "test.conllu", "--max_words", "1")
    with pytest.raises(ValueError, match=r"dev\.conllu has no sentence of at most 1 words; raise max_words"):
        main(argv)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perturbed_masking", "word_discovery"])
def test_a_copy_runs_where_nothing_but_the_package_is_installed(name: str, tmp_path: Path) -> None:
    package = tmp_path / "installed"
    package.mkdir()
    (package / "nlpkit").symlink_to(ROOT / "nlpkit")
    shutil.copy(ROOT / "recipes" / f"{name}.py", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-P", str(tmp_path / f"{name}.py"), "--help"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "--output_dir" in found.stdout
