"""Fine-tune beside a model: ladders of several beginnings against full fine-tuning, LoRA and the head alone.

    python recipes/ladder_finetune.py recipes/configs/ladder_finetune/chnsenticorp.yaml --model MODEL
    python recipes/ladder_finetune.py recipes/configs/ladder_finetune/csl_title.yaml --model SEQ2SEQ_MODEL

Files hold a JSON object a line: ``text``, perhaps ``text_pair``, and ``label`` (classification); ``text`` and
``spans`` of ``[start, end, type]`` (tagging); ``text`` and ``target`` (seq2seq). recipes/ladder_tasks.py writes some.

A method is ``full``, ``lora`` (needs peft), ``head``, or ``ladder-`` and one of the inits, with ``+cache`` behind it
to keep the taps of all rows on disk. Every method is run with every seed, on the same rows, for as many epochs. Call
it again after an interruption: finished runs are kept. ``output_dir`` holds results.jsonl, table.md, where matplotlib
is installed quality.svg, score against training time, and each run's ladder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, cache_taps, get_ladder_model, head_modules
from nlpkit.ladder_side_tuning.configuration import INITS
from nlpkit.runs import FineTuningDefaults, MetricsLog, parse_recipe_arguments, settle_facts, training_facts
from recipes.ladder_report import SCORED, quality_table, write_report, write_text
from recipes.ladder_tasks import Task, classification, seq2seq, tagging

METHODS = ("full", "lora", "head", *(f"ladder-{init}{cache}" for init in INITS for cache in ("", "+cache")))


@dataclass
class LadderTrainingArguments(FineTuningDefaults, Seq2SeqTrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/ladder_finetune"
    num_train_epochs: float = 5.0
    per_device_train_batch_size: int = 16
    save_strategy: str = "no"
    # The Trainer does not find them by itself behind PEFT's wrapper.
    label_names: list[str] | None = field(default_factory=lambda: ["labels"])


@dataclass
class LadderArguments:
    """What to fine-tune on what, and how."""

    model: str = field(metadata={"help": "folder of a model"})
    train_file: str
    dev_file: str
    test_file: str | None = field(default=None, metadata={"help": "scored too; choose settings by dev"})
    task: str = field(
        default="classification",
        metadata={"help": "what the rows are", "choices": ["classification", "tagging", "seq2seq"]},
    )
    methods: list[str] = field(default_factory=lambda: ["ladder-magnitude"], metadata={"help": ", ".join(METHODS)})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one run each"})
    full_learning_rate: float = 5e-5
    full_head_learning_rate: float | None = field(
        default=None, metadata={"help": "of the head over a model that is fine-tuned whole; the same by default"}
    )
    lora_learning_rate: float = 5e-4
    lora_head_learning_rate: float | None = field(
        default=None, metadata={"help": "of the head over a model with LoRA; the same by default"}
    )
    head_learning_rate: float = 1e-3
    ladder_learning_rate: float = 1e-3
    ladder_head_learning_rate: float | None = field(
        default=None, metadata={"help": "of the head behind a ladder; the same by default"}
    )
    reduction: int = 8
    layers: int | None = field(default=None, metadata={"help": "how many layers keep a side block; all by default"})
    merge: str = "gate"
    fisher_rows: int = field(default=1024, metadata={"help": "training rows to measure gradients on, one at a time"})
    distill_batches: int = field(
        default=512, metadata={"help": "batches from all of train_file, without labels unless a decoder reads them"}
    )
    tap_dtype: str = "bfloat16"
    max_length: int = 128
    max_target_length: int = 32
    max_train_rows: int | None = field(default=None, metadata={"help": "train on the first so many rows"})
    max_dev_rows: int | None = None


def main(argv: list[str]) -> list[dict[str, Any]]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([LadderArguments, LadderTrainingArguments], argv)
    unknown = sorted(set(settings.methods) - set(METHODS))
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; use {', '.join(METHODS)}")
    own_rates = (
        settings.full_head_learning_rate,
        settings.lora_head_learning_rate,
        settings.ladder_head_learning_rate,
    )
    if settings.task == "seq2seq" and ("head" in settings.methods or any(own_rates)):
        raise ValueError("a seq2seq model's head is pretrained: drop the method head and the learning rates of heads")
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    make_task: Callable[..., Task] = {"classification": classification, "tagging": tagging, "seq2seq": seq2seq}[
        settings.task
    ]
    task = make_task(settings, tokenizer)
    output = Path(args.output_dir)
    facts = asdict(settings) | {"methods": [], "seeds": []} | training_facts(args)
    settle_facts(output / "run.json", facts, begins=not any(output.glob("*/seed-*/result.json")))
    results = []
    for seed in settings.seeds:
        for method in settings.methods:
            results.append(run(method, seed, task, settings, args))
            write_report(results, output)
    print(quality_table(results))
    return results


def run(
    method: str, seed: int, task: Task, settings: LadderArguments, args: LadderTrainingArguments
) -> dict[str, Any]:
    """Train and score one model, or read the scores of one that was finished."""
    output = Path(args.output_dir) / method / f"seed-{seed}"
    if (output / "result.json").is_file():
        return dict(json.loads((output / "result.json").read_text("utf-8")))
    set_seed(seed)  # before the model is made, for its head
    begin = perf_counter()
    model = prepare(method, task, settings, args)
    prepared = perf_counter()
    rates = {
        "full": (settings.full_learning_rate, settings.full_head_learning_rate),
        "lora": (settings.lora_learning_rate, settings.lora_head_learning_rate),
        "head": (settings.head_learning_rate, None),
    }
    rate, head_rate = rates.get(method, (settings.ladder_learning_rate, settings.ladder_head_learning_rate))
    trainer = Seq2SeqTrainer(
        model=model,
        args=replace(
            args,
            seed=seed,
            output_dir=str(output),
            learning_rate=rate,
            predict_with_generate=settings.task == "seq2seq",
            generation_max_length=settings.max_target_length,
        ),
        data_collator=task.collate,
        train_dataset=task.parts["train"],
        eval_dataset=task.parts["dev"],  # type: ignore[arg-type]
        preprocess_logits_for_metrics=task.reduce_logits,
        callbacks=[MetricsLog(output / "metrics.jsonl")],
    )
    if head_rate is not None:
        give_head_its_own_rate(trainer, head_rate)
    trained = trainer.train()
    if isinstance(model, LadderModel):
        trainer.save_model(str(output / "ladder"))
        if settings.task == "seq2seq":  # the prefixes that it generates are in no cache
            model.use_tap_cache(None)
    trainer.args.train_sampling_strategy = "sequential"  # or predictions would come grouped by length, too
    scores = {
        part: task.score(part, trainer.predict(rows).predictions)  # type: ignore[arg-type]
        for part, rows in task.parts.items()
        if part in SCORED
    }
    result = {
        "method": method,
        "seed": seed,
        "metric": task.metric,
        **scores,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": trained.global_step,
        "train_loss": trained.training_loss,
        "init_seconds": round(prepared - begin, 1),
        "train_seconds": trained.metrics["train_runtime"],
    }
    write_text(json.dumps(result, indent=1) + "\n", output / "result.json")
    return result


def prepare(method: str, task: Task, settings: LadderArguments, args: LadderTrainingArguments) -> Any:
    """Make the model that a method trains."""
    model = task.make_model()
    if method == "full":
        return model
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        from nlpkit.probes.tuning_profile import lora_targets

        heads = head_modules(model) or None
        return get_peft_model(
            model, LoraConfig(r=8, lora_alpha=16, target_modules=lora_targets(model), modules_to_save=heads)
        )
    if method == "head":
        model.requires_grad_(False)
        for name in head_modules(model):
            model.get_submodule(name).requires_grad_(True)
        return model
    init, _, cached = method.removeprefix("ladder-").partition("+")
    config = LadderConfig(
        reduction=settings.reduction,
        layers=settings.layers,
        merge=settings.merge,  # type: ignore[arg-type]
        init=init,  # type: ignore[arg-type]
    )
    ladder = get_ladder_model(model, config, batches=init_batches(init, task, settings, args))
    if cached:
        # All seeds and inits share it: it depends on the backbone, the layers and the rows only.
        parts = ("train",) if settings.task == "seq2seq" else ("train", *SCORED)
        rows = [row for part in parts for row in task.parts.get(part, [])]
        with torch.autocast(ladder.device.type, torch.bfloat16, enabled=args.bf16):
            folder = Path(args.output_dir) / "taps"
            ladder.use_tap_cache(cache_taps(ladder, rows, folder, task.collate, dtype=settings.tap_dtype))
    return ladder


def give_head_its_own_rate(trainer: Seq2SeqTrainer, rate: float) -> None:
    """Make the optimizer, and put the head in groups of their own: it begins at random, beside pretrained weights."""
    optimizer: Any = trainer.create_optimizer()
    model: Any = trainer.model
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's wrapper has it
    head = {parameter for name in head_modules(plain) for parameter in plain.get_submodule(name).parameters()}
    for group in list(optimizer.param_groups):
        parameters = group["params"]
        group["params"] = [parameter for parameter in parameters if parameter not in head]
        moved = [parameter for parameter in parameters if parameter in head]
        optimizer.add_param_group({**group, "params": moved, "lr": rate})


def init_batches(
    init: str, task: Task, settings: LadderArguments, args: LadderTrainingArguments
) -> list[dict[str, Any]] | None:
    """The batches that an init learns from: labelled rows one at a time for fisher, any text for distillation."""
    if init not in ("fisher", "distill"):
        return None
    fisher = init == "fisher"
    rows = task.parts["train" if fisher else "text"]
    size, count = (1, settings.fisher_rows) if fisher else (args.per_device_train_batch_size, settings.distill_batches)
    loader: Any = DataLoader(rows, size, shuffle=True, collate_fn=task.collate)  # type: ignore[arg-type]
    batches: list[dict[str, Any]] = []
    while len(batches) < count:
        for batch in loader:
            batches.append(dict(batch))
    return batches[:count]


if __name__ == "__main__":
    main(sys.argv[1:])
