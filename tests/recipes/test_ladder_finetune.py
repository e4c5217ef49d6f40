"""The ladder recipe, end to end on sentences of its own."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration

from nlpkit import WoBertTokenizer
from nlpkit.ladder_side_tuning import LadderModel, TapCache
from nlpkit.runs import method_table
from recipes import ladder_data
from recipes.ladder_finetune import SCORED, main

ROOT = Path(__file__).resolve().parents[2]

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PLACES, PEOPLE = ["北京", "上海", "天津"], ["小王", "小李"]
VERBS = ["很高兴", "来了", "没来", "很生气"]


def rows(task: str) -> list[dict[str, Any]]:
    found = []
    for place, person, verb in product(PLACES, PEOPLE, VERBS):
        text = f"{place}{person}{verb}"
        row: dict[str, Any] = {"text": text}
        if task == "classification":
            row |= {"label": "good" if verb in ("很高兴", "来了") else "bad"}
        elif task == "tagging":
            row |= {"spans": [[0, 2, "LOC"], [2, 4, "PER"]]}
        else:
            row |= {"target": person}
        found.append(row)
    return found


def write(folder: Path, task: str) -> dict[str, str]:
    """A model and files for a task."""
    characters = sorted(set("".join(PLACES + PEOPLE + VERBS)))
    tokenizer = WoBertTokenizer(vocab={token: number for number, token in enumerate([*SPECIALS, *characters])})
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    vocab_size = len(SPECIALS) + len(characters)
    if task == "seq2seq":
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
        T5ForConditionalGeneration(T5Config(vocab_size=vocab_size, eos_token_id=3, **sizes)).save_pretrained(
            folder / "model"
        )
    else:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(vocab_size=vocab_size, **sizes)).save_pretrained(folder / "model")
    files = {}
    for part, chosen in (("train", rows(task) * 2), ("dev", rows(task)[::2])):
        path = folder / f"{part}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in chosen), "utf-8")
        files[f"{part}_file"] = str(path)
    return {"model": str(folder / "model"), **files}


def options(settings: dict[str, Any]) -> list[str]:
    found = []
    for name, value in settings.items():
        found += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "tagging", "seq2seq"])
def test_every_method_runs_and_finished_runs_are_kept(task: str, tmp_path: Path) -> None:
    methods = [
        "full",
        "lora",
        "ladder-random",
        "ladder-fisher",
        "ladder-distill+cache",
        "tune-1+cache",
        "tune-1+cache@2e-3x3",
        "both-1+cache",
    ]
    settings = options(
        {
            **write(tmp_path, task),
            "task": task,
            "methods": [*methods, "head"] if task != "seq2seq" else methods,
            "seeds": [0, 1],
            "reduction": 2,
            "fisher_rows": 4,
            "distill_batches": 4,
            "num_train_epochs": 2,
            "output_dir": str(tmp_path / "runs"),
            "ladder_learning_rate": 0.01,
            "max_target_length": 6,
            "disable_tqdm": "true",
        }
    )
    first = main(settings)
    assert [(result["seed"], result["method"]) for result in first][:2] == [(0, "full"), (0, "lora")]
    assert all(0 <= result["dev"] <= 1 for result in first)
    ladder = tmp_path / "runs" / "ladder-fisher" / "seed-0" / "ladder"
    assert (ladder / "adapter_model.safetensors").is_file()
    assert (tmp_path / "runs" / "tune-1+cache" / "seed-0" / "ladder" / "adapter_model.safetensors").is_file()
    loss = {result["method"]: result["train_loss"] for result in first}
    assert loss["tune-1+cache"] != loss["tune-1+cache@2e-3x3"]
    steps = {result["method"]: result["steps"] for result in first}
    assert steps["tune-1+cache@2e-3x3"] * 2 == steps["tune-1+cache"] * 3 == steps["full"] * 3
    memory = {result["method"]: result["activation_bytes"] for result in first}
    assert memory["tune-1+cache"] < memory["full"]
    (tmp_path / "runs" / "full" / "seed-1" / "result.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/*/result.json")}
    second = main(settings)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for before, after in zip(first, second, strict=True):
        assert before["dev"] == after["dev"]
    lines = (tmp_path / "runs" / "results.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == second
    assert (tmp_path / "runs" / "table.md").read_text("utf-8") == method_table(second, SCORED, baseline="full")
    with pytest.raises(ValueError, match=r"made with other settings: reduction was 2 and is now 4"):
        main([*settings, "--reduction", "4"])


@pytest.mark.slow
def test_a_ladder_learns_what_a_random_backbone_shows_it(tmp_path: Path) -> None:
    spans = [[0, 2, "LOC"], [2, 4, "PER"]]
    unseen = [{"text": place + person, "spans": spans} for place, person in product(PLACES, PEOPLE)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unseen), "utf-8")
    settings = {
        **write(tmp_path, "tagging"),
        "task": "tagging",
        "methods": ["ladder-magnitude", "ladder-magnitude+cache"],
        "reduction": 2,
        "num_train_epochs": 20,
        "output_dir": str(tmp_path / "runs"),
        "ladder_learning_rate": 0.01,
        "tap_dtype": "float32",
        "test_file": str(tmp_path / "test.jsonl"),
        "disable_tqdm": "true",
    }
    live, cached = main(options(settings))
    assert live["dev"] > 0.9 and live["test"] > 0.9
    assert (cached["dev"], cached["test"]) == (live["dev"], live["test"])
    assert cached["train_loss"] == pytest.approx(live["train_loss"], rel=1e-4)
    # What is trained on and what is scored, each text once; the rows of dev are among those of train.
    assert len(TapCache(tmp_path / "runs" / "taps")) == len(rows("tagging")) + len(unseen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "system",
    [["--multi_gpu"], ["--use_fsdp", "--fsdp_version=2", "--fsdp_cpu_ram_efficient_loading=false"]],
    ids=["ddp", "fsdp"],
)
def test_two_processes_equal_one_with_the_doubled_batch(system: list[str], tmp_path: Path) -> None:
    files = write(tmp_path, "tagging")
    config = tmp_path / "model" / "config.json"
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | without), "utf-8")
    settings = {
        **files,
        "task": "tagging",
        "methods": ["ladder-magnitude", "ladder-magnitude+cache"],
        "reduction": 2,
        "num_train_epochs": 2,
        "ladder_learning_rate": 0.01,
        "ladder_dropout": 0.0,
        "tap_dtype": "float32",
        "disable_tqdm": "true",
        "bf16": "false",
        "use_cpu": "true",
    }
    one = main(options({**settings, "per_device_train_batch_size": 8, "output_dir": str(tmp_path / "one")}))
    two = options({**settings, "per_device_train_batch_size": 4, "output_dir": str(tmp_path / "two")})
    command = [sys.executable, "-m", "accelerate.commands.launch", *system, "--num_processes=2"]
    command += ["--main_process_port=0", "recipes/ladder_finetune.py", *two]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "two" / "results.jsonl").read_text("utf-8").splitlines()
    for expected, found in zip(one, map(json.loads, lines), strict=True):
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
        assert (found["method"], found["dev"]) == (expected["method"], pytest.approx(expected["dev"], abs=0.1))
        paths = [tmp_path / run / found["method"] / "seed-0" / "ladder" for run in ("one", "two")]
        learnt, again = (load_file(path / "adapter_model.safetensors") for path in paths)
        assert learnt.keys() == again.keys()
        for name, tensor in learnt.items():
            torch.testing.assert_close(again[name], tensor, rtol=0, atol=2e-3, msg=name)
        LadderModel.from_pretrained(paths[1])
    assert len(TapCache(tmp_path / "two" / "taps")) == len(rows("tagging"))


@pytest.mark.slow
def test_rows_grouped_by_length_are_scored_by_their_own_labels(tmp_path: Path) -> None:
    files = write(tmp_path, "classification")
    settings = {
        **files,
        "methods": ["ladder-magnitude"],
        "reduction": 2,
        "num_train_epochs": 20,
        "output_dir": str(tmp_path / "runs"),
        "ladder_learning_rate": 0.01,
        "train_sampling_strategy": "group_by_length",
        "test_file": files["train_file"],
        "per_device_eval_batch_size": 2,
        "disable_tqdm": "true",
    }
    (result,) = main(options(settings))
    assert result["dev"] == result["test"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_distillation_reads_texts_whose_labels_are_not_trained_on(task: str, tmp_path: Path) -> None:
    files = write(tmp_path, task)
    other = {"text": "上海", "label": "other", "spans": [[0, 2, "ORG"]]}
    with Path(files["train_file"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(other) + "\n")
    settings = {
        **files,
        "task": task,
        "methods": ["ladder-distill"],
        "reduction": 2,
        "max_train_rows": 24,
        "distill_batches": 4,
        "output_dir": str(tmp_path / "runs"),
        "disable_tqdm": "true",
    }
    (result,) = main(options(settings))
    assert 0 <= result["dev"] <= 1


def test_bad_settings_are_named(tmp_path: Path) -> None:
    found = write(tmp_path, "classification")
    with pytest.raises(ValueError, match="unknown method 'ladder'; use full, lora, head, ladder-random"):
        main(options({**found, "methods": ["ladder"]}))
    for rate in ("", "fast", "nan", "0", "1e-4x", "1e-4x0", "x2"):
        with pytest.raises(
            ValueError, match=rf"head@{rate}: what stands behind @ is a learning rate, e\.g\. head@1e-4"
        ):
            main(options({**found, "methods": [f"head@{rate}"]}))
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nothing\.jsonl'; recipes/ladder_data\.py writes"):
        main(options({**found, "dev_file": "nothing.jsonl"}))
    with pytest.raises(ValueError, match="line 1 has no 'spans'; tagging needs"):
        main(options({**found, "task": "tagging"}))
    for setting in (
        {"methods": ["head"]},
        *({f"{name}_head_learning_rate": 1} for name in ("full", "lora", "ladder")),
    ):
        with pytest.raises(ValueError, match="a seq2seq model's head is pretrained: drop the method head and the"):
            main(options({**found, "task": "seq2seq", **setting}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["full@1e999"]}, "what stands behind @ is a learning rate"),
        ({"methods": ["head", "head"]}, "methods name one twice: head, head; each counts once"),
        ({"seeds": [0, 1, 0]}, "seeds name one twice: 0, 1, 0"),
        ({"seeds": [-1]}, "seed=-1: give a whole number at least 0"),
        ({"methods": ["tune-01"]}, "unknown method 'tune-01'"),
        ({"max_train_rows": -16}, "max_train_rows=-16 must be 1 or more; leave it out for all rows"),
    ],
)
def test_settings_that_would_count_wrong_are_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        main(options({**write(tmp_path, "classification"), **changed}))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "小王来了", "label": None}, "line 1 has no 'label'"),
        ({"text": None, "label": "good"}, "line 1 has no 'text'"),
        ({"text": 5, "label": "good"}, "line 1: 'text' must be a text; it is 5"),
        ({"text": "小王", "text_pair": 5, "label": "good"}, "line 1: 'text_pair' must be a text; it is 5"),
        (
            {"text": "小王", "label": "fine"},
            "no training row has the label 'fine' of another part",
        ),
    ],
)
def test_odd_rows_are_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = write(tmp_path, "classification")
    (tmp_path / "odd.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(ValueError, match=message):
        main(options({**found, "dev_file": str(tmp_path / "odd.jsonl")}))


@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_a_run_that_diverges_gets_no_score(task: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="training has diverged"):
        main(options({**write(tmp_path, task), "task": task, "methods": ["full@1e30"]}))
    assert not list(tmp_path.rglob("result.json"))


def test_a_target_that_cannot_be_scored_is_refused_before_the_training(tmp_path: Path) -> None:
    found = write(tmp_path, "seq2seq")
    dev = Path(found["dev_file"])
    rows = [json.loads(line) for line in dev.read_text("utf-8").splitlines()]
    dev.write_text("".join(json.dumps(row | {"target": " "}) + "\n" for row in rows), "utf-8")
    with pytest.raises(ValueError, match="wanted text 0 is blank"):
        main(options({**found, "task": "seq2seq"}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ladder_finetune.py", "ladder_data.py", "pfr_entities.py"])
def test_a_copy_outside_of_the_checkout_runs_with_nlpkit_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "nlpkit").symlink_to(ROOT / "nlpkit")
    shutil.copy(ROOT / "recipes" / name, tmp_path)
    # An editable installation may put the checkout on the path, too: what counts is that nothing is imported from it.
    script = f"import sys, runpy; runpy.run_path({name!r}, run_name='recipe'); print('recipes' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["False"]


def test_public_sets_become_files_of_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "dev", "test"):
        with lzma.open(tmp_path / f"{part}.tsv.xz", "wt", encoding="utf-8") as file:
            file.write("label\ttext_a\n" + "".join(f'{n % 2}\t第{n}条"评论\n' for n in range(5)))
    ladder_data.main(["chnsenticorp", str(tmp_path), str(tmp_path / "out")])
    assert "train.jsonl: 5 rows" in capsys.readouterr().out
    found = {
        part: [json.loads(line) for line in (tmp_path / "out" / f"{part}.jsonl").read_text("utf-8").splitlines()]
        for part in ("train", "dev", "test")
    }
    assert found["dev"] == [{"text": f'第{n}条"评论', "label": str(n % 2)} for n in range(5)]
    assert found["train"] != found["dev"] and sorted(found["train"], key=str) == sorted(found["dev"], key=str)
    with pytest.raises(SystemExit):
        ladder_data.main(["nothing", "from", "to"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
