"""The pre-training recipe from text files to a saved model: learning, interruption, several processes, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from nlpkit.runs.checkpoints import last_complete_checkpoint
from nlpkit.runs.metrics_log import read_metrics
from nlpkit.runs.recipe_arguments import parse_recipe_arguments
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from recipes.wobert_pretrain import PretrainingArguments, WoBertArguments, main
from tests.data.written_corpus import save_start_model, write_corpus

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "recipes" / "configs" / "wobert_pretrain").glob("*.yaml"))


@pytest.fixture
def settings(tmp_path):
    """A run of some seconds, as command-line options by name."""
    write_corpus(tmp_path)
    return {
        "model_path": str(save_start_model(tmp_path / "start")),
        "train_files": str(tmp_path / "*.txt"),
        "output_dir": str(tmp_path / "run"),
        "cache_dir": str(tmp_path / "cache"),
        "block_size": 32,
        "run_lines": 4,
        "held_out_every": 10,
        "per_device_train_batch_size": 8,
        "max_steps": 12,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 4,
        "eval_steps": 6,
        "bf16": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": True,
    }


def options(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


def logged(settings, name):
    """The values of a metric in the order of steps."""
    events = read_metrics(Path(settings["output_dir"], "metrics.jsonl"))
    assert [event["step"] for event in events] == sorted(event["step"] for event in events)
    return [event[name] for event in events if name in event]


def written_at(settings, checkpoint):
    return Path(settings["output_dir"], checkpoint, "trainer_state.json").stat().st_mtime_ns


def in_another_process(launcher, settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(ROOT / "recipes" / "wobert_pretrain.py"), *options(settings)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    output = process.communicate()[0].decode("utf-8", errors="replace")
    assert process.returncode == 0, output[-3000:]


def test_a_run_learns_and_leaves_a_whole_model(settings, tmp_path):
    metrics = main(options(settings | {"save_dtype": "float16", "model_name": "tiny", "max_steps": 40}))
    losses, held_out = logged(settings, "loss"), logged(settings, "eval_loss")
    assert len(losses) == 40
    assert losses[-1] < losses[0] - 0.5
    assert metrics["loss"] < held_out[0] - 0.2
    assert {"loss_reviews", "loss_weather", "accuracy_reviews", "targets_weather"} < set(metrics)

    folder = tmp_path / "run" / "model"
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == metrics
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert "# tiny" in (folder / "README.md").read_text(encoding="utf-8")
    model = WoBertForMaskedLM.from_pretrained(folder)
    tokenizer = WoBertTokenizer.from_pretrained(folder)
    encoded = tokenizer("今天北京上午有小[MASK]", return_tensors="pt")
    assert model(**encoded, labels=encoded["input_ids"]).logits.shape[:2] == encoded["input_ids"].shape
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_a_stream_trains_too_and_dropout_is_only_for_training(settings, tmp_path):
    main(options(settings | {"streaming": True, "shuffle_buffer": 50, "dropout": 0, "dataloader_num_workers": 2}))
    assert len(logged(settings, "loss")) == 12
    assert not (tmp_path / "cache").exists()
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.1


@pytest.mark.parametrize("streaming", [False, True])
def test_a_run_cut_short_and_resumed_ends_as_one_in_one_piece(settings, tmp_path, streaming):
    settings |= {"streaming": streaming, "shuffle_buffer": 20, "gradient_accumulation_steps": 2}
    main(options(settings))
    whole, weights = logged(settings, "loss"), load_file(tmp_path / "run" / "model" / "model.safetensors")
    # As a kill between steps 9 and 10 leaves it: the checkpoints of steps 4 and 8, and lines beyond.
    for gone in ("checkpoint-12", "model"):
        (tmp_path / "run" / gone).rename(tmp_path / gone)
    begun = written_at(settings, "checkpoint-8")
    main(options(settings))
    assert logged(settings, "loss") == whole
    assert written_at(settings, "checkpoint-8") == begun, "the run began anew instead of going on"
    for name, tensor in load_file(tmp_path / "run" / "model" / "model.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def test_a_finished_run_called_again_trains_no_further(settings, tmp_path):
    first = main(options(settings))
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    second = main(options(settings))
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    assert {name: value for name, value in first.items() if "loss" in name} == {
        name: value for name, value in second.items() if "loss" in name
    }
    assert len(logged(settings, "final_loss")) == 1


def test_a_run_prolonged_equals_a_long_one(settings, tmp_path):
    # Without dropout, whose noise an evaluation at the end of the short run would shift.
    settings |= {"lr_scheduler_type": "constant", "dropout": 0}
    main(options(settings))
    long = logged(settings, "loss")
    settings |= {"output_dir": str(tmp_path / "prolonged")}
    main(options(settings | {"max_steps": 4}))
    main(options(settings))
    assert logged(settings, "loss") == long


def test_the_results_are_those_of_the_saved_weights(settings, tmp_path):
    first = main(options(settings | {"save_dtype": "float16"}))
    saved = {"model_path": str(tmp_path / "run" / "model"), "output_dir": str(tmp_path / "again")}
    again = main(options(settings | saved | {"learning_rate": 0, "max_steps": 1}))
    assert again["loss"] == pytest.approx(first["loss"], rel=1e-7)
    assert logged(settings, "eval_loss")[-1] != pytest.approx(first["loss"], rel=1e-7)


def test_accumulated_batches_equal_one_large_batch(settings, tmp_path):
    save_start_model(tmp_path / "start", dropout=0.0)
    main(options(settings))
    large = logged(settings, "loss")
    smaller = {
        "output_dir": str(tmp_path / "other"),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
    }
    settings |= smaller
    main(options(settings))
    # The recipe trains in fp32, and every processor rounds other batch sizes differently.
    assert logged(settings, "loss") == pytest.approx(large, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
def test_a_killed_run_resumes_to_the_same_losses(settings, tmp_path, streaming):
    settings |= {"streaming": streaming, "max_steps": 60, "save_steps": 10}
    finish(in_another_process([], settings))
    whole = logged(settings, "loss")
    assert len(whole) == 60

    settings |= {"output_dir": str(tmp_path / "killed"), "save_total_limit": 9}
    process = in_another_process([], settings)
    deadline = time.monotonic() + 120
    while len(read_metrics(Path(settings["output_dir"], "metrics.jsonl"))) < 25:
        assert process.poll() is None, process.communicate()[0].decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(logged(settings, "loss")) < 60
    checkpoint = last_complete_checkpoint(settings["output_dir"])
    assert checkpoint is not None
    begun = written_at(settings, checkpoint.name)
    finish(in_another_process([], settings))
    assert logged(settings, "loss") == whole
    assert written_at(settings, checkpoint.name) == begun, "the run began anew instead of going on"


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "streaming"), [("accelerate", False), ("accelerate", True), ("torchrun", False)])
def test_two_processes_equal_one_with_the_doubled_batch(settings, tmp_path, launcher, streaming):
    save_start_model(tmp_path / "start", dropout=0.0)
    settings |= {"streaming": streaming, "shuffle_buffer": 50, "max_eval_rows": 7}
    finish(in_another_process([], settings))
    one = {name: logged(settings, name) for name in ("loss", "final_loss", "final_accuracy", "final_targets")}
    settings |= {"output_dir": str(tmp_path / "two"), "per_device_train_batch_size": 4}
    port = "--main_process_port=0" if launcher == "accelerate" else "--standalone"
    launchers = {
        "accelerate": [
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes=2",
            "--num_machines=1",
            port,
        ],
        "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node=2", port],
    }
    finish(in_another_process(launchers[launcher], settings))
    for name, values in one.items():
        assert logged(settings, name) == pytest.approx(values, rel=1e-4), name


@pytest.mark.slow
def test_two_processes_with_a_share_of_the_weights_each_equal_one(settings, tmp_path):
    save_start_model(tmp_path / "start", dropout=0.0)
    settings |= {"max_eval_rows": 7}
    main(options(settings))
    names = ("loss", "final_loss", "final_accuracy", "final_targets")
    one = {name: logged(settings, name) for name in names}
    learnt = load_file(tmp_path / "run" / "model" / "model.safetensors")
    settings |= {"output_dir": str(tmp_path / "two"), "per_device_train_batch_size": 4}
    launcher = ["-m", "accelerate.commands.launch", "--use_fsdp", "--fsdp_version=2", "--num_processes=2"]
    launcher += ["--main_process_port=0"]
    finish(in_another_process(launcher, settings))
    assert list((tmp_path / "two" / "checkpoint-12").glob("pytorch_model_fsdp*")), "nothing was sharded"
    # As a kill between steps 9 and 10 leaves it.
    for gone in ("checkpoint-12", "model"):
        (tmp_path / "two" / gone).rename(tmp_path / gone)
    begun = written_at(settings, "checkpoint-8")
    finish(in_another_process(launcher, settings))
    assert written_at(settings, "checkpoint-8") == begun, "the run began anew instead of going on"
    for name, values in one.items():
        assert logged(settings, name) == pytest.approx(values, rel=1e-4), name
    for folder in (tmp_path / "model", tmp_path / "two" / "model"):
        found = load_file(folder / "model.safetensors")
        assert found.keys() == learnt.keys()
        for name, tensor in learnt.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-3, msg=name)
        WoBertForMaskedLM.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_files": "/no/such/*.txt"}, FileNotFoundError, r"no file matches '/no/such/\*\.txt'"),
        ({"domain_shares": "law=0.5"}, ValueError, "names 'law'; the domains are reviews, weather"),
        ({"block_size": 2}, ValueError, "block_size must be at least 3"),
        ({"block_size": 65}, ValueError, "block_size is 65, but the model has only 64 positions"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1; got 0"),
        ({"mask_probability": 1.5}, ValueError, "mask_probability must lie between 0 and 1"),
        ({"save_dtype": "int8"}, ValueError, "invalid choice: 'int8'"),
        ({"blok_size": 32}, ValueError, r"unknown setting 'blok_size'.*did you mean block_size"),
    ],
)
def test_bad_settings_are_refused_before_training(settings, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        main(options(settings | changes))
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_larger_than_the_model_is_refused(settings, tmp_path):
    vocabulary = Path(settings["model_path"], "vocab.txt")
    vocabulary.write_text(vocabulary.read_text(encoding="utf-8") + "多余\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens, the model only \d+"):
        main(options(settings))


def test_a_vocabulary_of_another_language_is_refused(settings, tmp_path):
    (tmp_path / "reviews.txt").write_text("Ελλάδα και θάλασσα\n" * 100, encoding="utf-8")
    (tmp_path / "weather.txt").write_text("Ελλάδα και θάλασσα\n" * 100, encoding="utf-8")
    with pytest.raises(ValueError, match=r"of the held-out tokens are \[UNK\]: the vocabulary does not fit"):
        main(options(settings))


def test_a_run_is_not_resumed_under_other_settings(settings):
    main(options(settings | {"max_steps": 4}))
    with pytest.raises(ValueError, match=r"made with other settings: rows_per_step was 8 and is now 4"):
        main(options(settings | {"per_device_train_batch_size": 4}))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config_is_read_and_begins_with_its_command(path):
    first = path.read_text(encoding="utf-8").split("\n")[0]
    assert first.startswith(f"# python recipes/wobert_pretrain.py recipes/configs/wobert_pretrain/{path.name} ")
    settings, args = parse_recipe_arguments(
        [WoBertArguments, PretrainingArguments], [str(path), "--model_path=m", "--train_files", "a.txt"]
    )
    for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        found = getattr(settings, name) if hasattr(settings, name) else getattr(args, name)
        assert found == value or found == float(value), name
