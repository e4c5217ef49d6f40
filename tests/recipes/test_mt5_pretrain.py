"""Pre-training an mT5 from text files to a saved model: learning, interruption, several processes, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from nlpkit import generate_texts
from nlpkit.mt5 import train_vocabulary
from nlpkit.runs import last_complete_checkpoint, parse_recipe_arguments, read_metrics
from recipes.mt5_pretrain import Mt5Arguments, Mt5TrainingArguments, card_of, main, read_objectives
from tests.data.written_corpus import REVIEWS, WEATHER, lines, write_corpus
from tests.recipes.copies import help_of_a_copy

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "recipes" / "configs" / "mt5_pretrain").glob("*.yaml"))
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary") / "tokenizer"
    train_vocabulary(lines(REVIEWS, 400, 0) + lines(WEATHER, 400, 1), 520, folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path, vocabulary: Path) -> Settings:
    """A run of some seconds, as command-line options by name."""
    write_corpus(tmp_path)
    pairs = [{"source": line, "target": line[:4]} for line in lines(WEATHER, 300, 7)]
    rows = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
    (tmp_path / "places.jsonl").write_text(rows, "utf-8")
    return {
        "tokenizer_path": vocabulary,
        "train_files": tmp_path / "*.txt",
        "pair_files": tmp_path / "*.jsonl",
        "objective_shares": ["spans=0.5", "summaries=0.25", "pairs=0.25"],
        "prefixes": ["summaries=摘要：", "places=标题："],
        "output_dir": tmp_path / "run",
        "cache_dir": tmp_path / "cache",
        "source_length": 40,
        "target_length": 32,
        "width": 32,
        "heads": 2,
        "feed_forward": 48,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "run_lines": 4,
        "held_out_every": 10,
        "max_eval_rows": 8,
        "bucket_rows": 8,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
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


def options(settings: Settings) -> list[str]:
    return [
        option
        for name, value in settings.items()
        if value is not None
        for option in ([f"--{name}", *value] if isinstance(value, list) else [f"--{name}={value}"])
    ]


def logged(settings: Settings, name: str) -> list[float]:
    """The values of a metric in the order of steps."""
    events = read_metrics(Path(settings["output_dir"], "metrics.jsonl"))
    assert [event["step"] for event in events] == sorted(event["step"] for event in events)
    return [event[name] for event in events if name in event]


def written_at(settings: Settings, checkpoint: str) -> int:
    return Path(settings["output_dir"], checkpoint, "trainer_state.json").stat().st_mtime_ns


def in_another_process(settings: Settings, *launcher: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(ROOT / "recipes" / "mt5_pretrain.py"), *options(settings)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> None:
    output = process.communicate()[0].decode("utf-8", errors="replace")
    assert process.returncode == 0, output[-3000:]


@pytest.mark.slow
def test_a_run_makes_its_vocabulary_learns_and_leaves_a_whole_model(settings: Settings, tmp_path: Path) -> None:
    settings |= {"tokenizer_path": None, "vocabulary_size": 520, "save_dtype": "float16", "model_name": "tiny"}
    settings |= {"max_steps": 300, "eval_steps": 100, "save_steps": 100, "written_domains": "places"}
    settings |= {"objective_shares": ["spans=0.4", "summaries=0.2", "pairs=0.4"]}
    metrics = main(options(settings))
    losses = logged(settings, "loss")
    assert len(losses) == 300
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    for objective in ("spans", "summaries", "pairs"):
        assert metrics[f"loss_{objective}"] < logged(settings, f"eval_loss_{objective}")[0]
    assert metrics["rouge-l_places"] > 0.5  # of characters drawn at random, below a tenth
    assert {"loss_spans_reviews", "accuracy_summaries_weather", "targets_pairs_places"} < set(metrics)

    folder = tmp_path / "run" / "model"
    assert json.loads((folder / "results.json").read_text("utf-8")) == metrics
    tensors = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert not tensors["lm_head.weight"].equal(tensors["shared.weight"])
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["dtype"], config["dropout_rate"]) == ("float32", 0.1)
    card = (folder / "README.md").read_text("utf-8")
    assert "# tiny" in card and "- `标题：` for places" in card and "| places | " in card
    assert str(tmp_path) not in "".join(path.read_text("utf-8", errors="ignore") for path in folder.iterdir())

    # As somebody loads it who has never heard of nlpkit.
    program = (
        "import sys; from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
        "tokenizer, model = (kind.from_pretrained(sys.argv[1]) for kind in (AutoTokenizer, AutoModelForSeq2SeqLM))\n"
        "batch = tokenizer(sys.argv[2], return_tensors='pt')\n"
        "print(tokenizer.decode(model.generate(**batch)[0], skip_special_tokens=True))"
    )
    source = f"标题：{lines(WEATHER, 1, 99)[0]}"
    command = [sys.executable, "-c", program, str(folder), source]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32 and model.lm_head.weight is not model.shared.weight
    assert found == generate_texts(model, tokenizer, [source], max_new_tokens=32)[0] != ""


def test_a_run_cut_short_and_resumed_ends_as_one_in_one_piece(settings: Settings, tmp_path: Path) -> None:
    settings |= {"gradient_accumulation_steps": 2, "bucket_rows": 4}
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


def test_a_run_prolonged_equals_a_long_one(settings: Settings, tmp_path: Path) -> None:
    settings |= {"lr_scheduler_type": "constant", "eval_strategy": "no"}
    main(options(settings))
    long = logged(settings, "loss")
    settings |= {"output_dir": tmp_path / "prolonged"}
    main(options(settings | {"max_steps": 4}))
    main(options(settings))
    assert logged(settings, "loss") == long


def test_accumulated_batches_equal_one_large_batch(settings: Settings, tmp_path: Path) -> None:
    settings |= {"eval_strategy": "no"}
    main(options(settings))
    large = logged(settings, "loss")
    settings |= {"output_dir": tmp_path / "other", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    main(options(settings))
    # The recipe trains in fp32, and every processor rounds other batch sizes differently.
    assert logged(settings, "loss") == pytest.approx(large, rel=1e-4)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_losses(settings: Settings, tmp_path: Path) -> None:
    settings |= {"tokenizer_path": None, "vocabulary_size": 520, "max_steps": 60, "save_steps": 10}
    finish(in_another_process(settings))
    whole = logged(settings, "loss")
    assert len(whole) == 60

    settings |= {"output_dir": tmp_path / "killed", "save_total_limit": 9}
    process = in_another_process(settings)
    deadline = time.monotonic() + 300
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
    finish(in_another_process(settings))
    assert logged(settings, "loss") == whole
    assert written_at(settings, checkpoint.name) == begun, "the run began anew instead of going on"


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(settings: Settings, tmp_path: Path) -> None:
    settings |= {"max_eval_rows": 7, "written_domains": "places"}
    finish(in_another_process(settings))
    names = ("loss", "final_loss", "final_loss_pairs_places", "final_targets", "final_targets_spans_reviews")
    one = {name: logged(settings, name) for name in names}
    settings |= {"output_dir": tmp_path / "two", "per_device_train_batch_size": 4}
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    finish(in_another_process(settings, *launcher))
    for name, values in one.items():
        assert logged(settings, name) == pytest.approx(values, rel=1e-3), name


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_files": "/no/such/*.txt"}, FileNotFoundError, r"no file matches '/no/such/\*\.txt'"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1; got 0"),
        (
            {"source_length": 2},
            ValueError,
            "source_length=2 and target_length=32 leave no room for a token, a sentinel",
        ),
        ({"noise_share": 1.5}, ValueError, "noise_share must lie between 0 and 1"),
        ({"save_dtype": "int8"}, ValueError, "invalid choice: 'int8'"),
        ({"sorce_length": 32}, ValueError, r"unknown setting 'sorce_length'.*did you mean source_length"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    settings: Settings, tmp_path: Path, changes: Settings, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        main(options(settings | changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective_shares": ["spans=1", "titles=1"]}, "objective_shares names 'titles'; the domains are spans"),
        ({"objective_shares": ["pairs=1"], "pair_files": None}, "gives pairs a share, but there are no pair_files"),
        ({"objective_shares": ["spans=0"]}, "objective_shares leaves nothing to learn"),
        (
            {"prefixes": ["poems=诗："]},
            "prefixes must look like summaries=摘要：, of summaries, places; got 'poems=诗：'",
        ),
        ({"domain_shares": ["law=0.5"]}, "domain_shares names 'law'; the domains are reviews, weather"),
        (
            {"summary_domain_shares": ["reviews=0", "weather=0"]},
            "summary_domain_shares leaves no domain to learn from",
        ),
        ({"written_domains": ["weather"]}, "written_domains names 'weather', which is no domain of pairs"),
        ({"width": 33}, "width=33 is no multiple of heads=2"),
    ],
)
def test_settings_that_do_not_fit_the_files_are_refused(settings: Settings, changes: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(options(settings | changes))


def test_texts_that_cannot_be_learnt_from_are_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "weather.txt").write_text("今天有小雨\n" * 200, "utf-8")
    with pytest.raises(ValueError, match="domain 'weather' yields no held-out pseudo-summaries"):
        main(options(settings | {"run_lines": 1}))
    (tmp_path / "places.jsonl").write_text('{"source": "今天", "target": "好"}\n{"source": "今天"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"places\.jsonl, line 2 has no text 'target'; it has source"):
        main(options(settings | {"objective_shares": ["pairs=1"]}))
    changes = {"tokenizer_path": None, "vocabulary_size": 9000}
    with pytest.raises(ValueError, match=r"^vocabulary_size=9000 is more than \d+ texts can give: at most"):
        main(options(settings | changes))
    assert not (tmp_path / "run" / "tokenizer").exists()


def test_a_run_is_not_resumed_under_other_settings(settings: Settings) -> None:
    settings |= {"eval_strategy": "no"}
    main(options(settings | {"max_steps": 4}))
    for changes, message in (
        ({"per_device_train_batch_size": 4}, "rows_per_step was 8 and is now 4"),
        ({"noise_share": 0.3}, "data was"),
        ({"mean_span_length": 2.0}, "spans was"),
        ({"feed_forward": 64}, "feed_forward was 48 and is now 64"),
        ({"domain_shares": ["weather=0.5"]}, "domain_shares was"),
        ({"prefixes": ["places=题："]}, "data was"),
    ):
        with pytest.raises(ValueError, match=f"made with other settings: .*{message}"):
            main(options(settings | changes))


def test_another_vocabulary_is_not_put_in_place_of_one_that_is_there(settings: Settings) -> None:
    settings |= {"tokenizer_path": None, "vocabulary_size": 520, "eval_strategy": "no", "max_steps": 1}
    main(options(settings))
    with pytest.raises(ValueError, match="made with other settings: vocabulary_size was 520 and is now 510"):
        main(options(settings | {"vocabulary_size": 510}))


def test_domains_without_a_share_are_neither_read_nor_scored(settings: Settings) -> None:
    changes = {"summary_domain_shares": ["reviews=0"], "domain_shares": ["weather=0.5"]}
    parsed, _ = parse_recipe_arguments([Mt5Arguments, Mt5TrainingArguments], options(settings | changes))
    tokenizer = AutoTokenizer.from_pretrained(settings["tokenizer_path"])
    objectives = read_objectives(parsed, tokenizer)
    assert [domain for objective in objectives for domain in objective.domains] == [
        "spans_reviews",
        "spans_weather",
        "summaries_weather",
        "pairs_places",
    ]
    metrics = {
        f"{kind}_{name}": 1.5
        for kind in ("loss", "accuracy", "targets")
        for name in (
            "spans",
            "summaries",
            "pairs",
            *(domain for objective in objectives for domain in objective.domains),
        )
    }
    card = card_of(parsed, {"steps": 12}, objectives, metrics)
    assert "| spans | weather | 0.5 | 2 | 1.500 | 1.500 |" in card and "| spans | **all** | | 2 | 1.500 |" in card


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config_is_read_and_begins_with_its_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = path.read_text("utf-8").split("\n")[0]
    assert first.startswith(f"# python recipes/mt5_pretrain.py recipes/configs/mt5_pretrain/{path.name} ")
    settings, args = parse_recipe_arguments(
        [Mt5Arguments, Mt5TrainingArguments], [str(path), "--train_files", "a.txt"]
    )
    for name, value in yaml.safe_load(path.read_text("utf-8")).items():
        found = getattr(settings, name) if hasattr(settings, name) else getattr(args, name)
        assert found == value or found == float(value), name


def test_a_copy_tells_its_settings(tmp_path: Path) -> None:
    assert "--objective_shares" in help_of_a_copy("mt5_pretrain.py", tmp_path)
