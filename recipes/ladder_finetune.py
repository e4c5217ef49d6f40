"""Fine-tune beside a model: ladders of several beginnings against full fine-tuning, LoRA and the head alone.

    python recipes/ladder_finetune.py recipes/configs/ladder_finetune/chnsenticorp.yaml --model MODEL
    python recipes/ladder_finetune.py recipes/configs/ladder_finetune/csl_title.yaml --model SEQ2SEQ_MODEL
    accelerate launch --multi_gpu --num_processes 2 recipes/ladder_finetune.py CONFIG.yaml --model MODEL

Files hold one JSON object per line: ``text``, optionally ``text_pair``, and ``label`` (classification); ``text`` and
``spans`` of ``[start, end, type]`` (tagging); ``text`` and ``target`` (seq2seq). recipes/ladder_data.py writes some.

A method is ``full``, ``lora`` (needs peft), ``head``, ``ladder-`` and one of the inits, ``tune-`` and the first layer
that is trained whole, or ``both-`` and that layer, with a ladder beside those below. The last three may be followed by
``+cache`` to keep the taps of all rows on disk, and each by ``@`` and its own learning rate, with ``x`` and its own
number of epochs behind it or not: ``tune-6+cache@1e-4x2``. Every method runs with every seed, on the same rows, and
otherwise for as many epochs. Call it again after an interruption: finished runs are kept.
``output_dir`` holds results.jsonl, table.md, what each run trained and, where matplotlib is installed, quality.svg:
score against training time, and the frontier.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from itertools import chain, islice, repeat
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Seq2SeqTrainingArguments,
    set_seed,
)

from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.labels import (
    Span,
    align_labels,
    bio_to_spans,
    decode_bio,
    score_spans,
    spans_to_bio,
    spread_labels,
    without_overlaps,
)
from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, tune_from
from nlpkit.ladder_side_tuning.configuration import INITS
from nlpkit.pretrained import open_encoder_decoder
from nlpkit.probes import saved_activation_bytes
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    method_table,
    parse_recipe_arguments,
    plot_methods,
    run_recipe,
    settle_facts,
    training_facts,
)
from nlpkit.seq2seq import character_scores
from nlpkit.sources import find_model
from nlpkit.text_files import read_records
from nlpkit.training import TechniqueSeq2SeqTrainer, fast_attention, give_head_its_own_rate, head_modules, lora_targets

Row = dict[str, Any]
SCORED = ("dev", "test")
TASKS = ("classification", "tagging", "seq2seq")
METHODS = ("full", "lora", "head", *(f"ladder-{init}{cache}" for init in INITS for cache in ("", "+cache")))
FROM_LAYER = re.compile(r"(tune|both)-(0|[1-9]\d*)(\+cache)?")
RATE = re.compile(r"(\d+(\.\d+)?(e-?\d+)?)(x(\d+(\.\d+)?))?")


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

    model: str = field(metadata={"help": "a folder, the name of a shipped model, or a repository on the Hub"})
    train_file: str
    dev_file: str
    test_file: str | None = field(default=None, metadata={"help": "scored too; choose settings by dev"})
    task: str = field(default="classification", metadata={"help": "what the rows are", "choices": list(TASKS)})
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
    tune_learning_rate: float = field(default=1e-4, metadata={"help": "of the layers that are trained whole"})
    tune_head_learning_rate: float | None = field(
        default=None, metadata={"help": "of the head over layers that are trained whole; the same by default"}
    )
    reduction: int = 8
    layers: int | None = field(default=None, metadata={"help": "how many layers keep a side block; all by default"})
    merge: str = "gate"
    ladder_dropout: float = LadderConfig.dropout
    fisher_rows: int = field(default=1024, metadata={"help": "training rows to measure gradients on, one at a time"})
    distill_batches: int = field(
        default=512, metadata={"help": "batches from all of train_file, without labels unless a decoder reads them"}
    )
    tap_dtype: str = "bfloat16"
    max_length: int = 128
    max_target_length: int = 32
    max_train_rows: int | None = field(default=None, metadata={"help": "train on the first so many rows"})
    max_dev_rows: int | None = None


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([LadderArguments, LadderTrainingArguments], argv)
    for given in settings.methods:
        name, at, rate = given.partition("@")
        if name not in METHODS and not FROM_LAYER.fullmatch(name):
            raise ValueError(f"unknown method {name!r}; use {', '.join(METHODS)}, tune-LAYER, both-LAYER")
        if at and not all(0 < number < math.inf for number in rate_and_epochs(rate)):
            raise ValueError(
                f"{given}: what stands behind @ is a learning rate, e.g. {name}@1e-4, and perhaps a number of epochs, "
                f"{name}@1e-4x2; got {rate!r}"
            )
    for name in ("max_train_rows", "max_dev_rows"):
        limit = getattr(settings, name)
        if limit is not None and limit < 1:
            raise ValueError(f"{name}={limit} must be 1 or more; leave it out for all rows")
    own_rates = (
        settings.full_head_learning_rate,
        settings.lora_head_learning_rate,
        settings.ladder_head_learning_rate,
        settings.tune_head_learning_rate,
    )
    if settings.task == "seq2seq" and ("head" in settings.methods or any(own_rates)):
        raise ValueError("a seq2seq model's head is pretrained: drop the method head and the learning rates of heads")
    task = {"classification": Classification, "tagging": Tagging, "seq2seq": Seq2Seq}[settings.task](settings)
    output = Path(args.output_dir)
    results = []
    is_first = args.process_index == 0
    with only_writer(output) if is_first else nullcontext():
        if is_first:
            facts = asdict(settings) | {"methods": [], "seeds": []} | training_facts(args)
            settle_facts(output / "run.json", facts, begins=not any(output.glob("*/seed-*/result.json")))
        for seed in settings.seeds:
            for method in settings.methods:
                results.append(run(method, seed, task, settings, args))
                if is_first:
                    write_report(results, output)
    if is_first:
        print(method_table(results, SCORED, baseline="full"))
    return results


def run(method: str, seed: int, task: Task, settings: LadderArguments, args: LadderTrainingArguments) -> Row:
    """Train and score one model, or read the scores of one that was finished."""
    output = Path(args.output_dir) / method / f"seed-{seed}"
    title, (method, own, rate) = method, method.partition("@")
    if (output / "result.json").is_file():
        return read_json(output / "result.json")
    set_seed(seed)  # before the model is made, for its head
    begin, begin_of_cpu = perf_counter(), process_time()
    model = prepare(method, task, settings, args)
    prepared, prepared_of_cpu = perf_counter(), process_time()
    kind = method.partition("-")[0].replace("both", "tune")
    head_rate = getattr(settings, f"{kind}_head_learning_rate", None)
    shared = (getattr(settings, f"{kind}_learning_rate"), args.num_train_epochs)
    learning_rate, epochs = rate_and_epochs(rate, args.num_train_epochs) if own else shared
    trainer = TechniqueSeq2SeqTrainer(
        model=model,
        args=replace(
            args,
            seed=seed,
            output_dir=str(output),
            learning_rate=learning_rate,
            num_train_epochs=epochs,
            predict_with_generate=settings.task == "seq2seq",
            generation_max_length=settings.max_target_length,
        ),
        data_collator=task.collate,
        train_dataset=task.parts["train"],
        eval_dataset=task.parts["dev"],
        preprocess_logits_for_metrics=task.reduce_logits,
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    kept_bytes = None
    if trainer.is_fsdp_enabled:  # measured now, since later the parameters are shards
        kept_bytes = activation_bytes(model, task.collate(task.parts["train"][: args.train_batch_size]))
        set_seed(seed)
    if head_rate is not None:
        give_head_its_own_rate(model, trainer.create_optimizer(), head_rate)
    if method.startswith("both"):
        give_side_network_its_own_rate(model, trainer.create_optimizer(), settings.ladder_learning_rate)
    train_of_cpu = process_time()
    with fast_attention(model):
        trained = trainer.train()
    trained_of_cpu = process_time()
    if isinstance(model, LadderModel):
        weights = trainer.whole_state_dict()
        model.save_pretrained(output / "ladder", trainer.is_world_process_zero(), weights, whole=False)
        if settings.task == "seq2seq":  # the prefixes that it generates are in no cache
            model.use_tap_cache(None)
    trainer.args.train_sampling_strategy = "sequential"  # otherwise predictions come grouped by length, too
    scores = {  # of several processes, Seq2SeqTrainer keeps the rows with which it fills up their last batches
        part: task.score(part, np.asarray(trainer.predict(rows).predictions)[: len(rows)])  # type: ignore[arg-type]
        for part, rows in task.parts.items()
        if part in SCORED
    }
    result = {
        "method": title,
        "seed": seed,
        "metric": task.metric,
        **scores,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": trained.global_step,
        "train_loss": mean_over_processes(trained.training_loss, trainer),
        "activation_bytes": kept_bytes
        or activation_bytes(model, task.collate(task.parts["train"][: args.train_batch_size])),
        "init_seconds": round(prepared - begin, 1),
        "train_seconds": trained.metrics["train_runtime"],
    }
    if args.device.type == "cpu":  # what is worked does not change with what else the machine does
        result["init_cpu_seconds"] = round(prepared_of_cpu - begin_of_cpu, 1)
        result["train_cpu_seconds"] = round(trained_of_cpu - train_of_cpu, 1)
    if trainer.is_world_process_zero():
        write_json(output / "result.json", result)
    return result


def rate_and_epochs(given: str, epochs: float = 1.0) -> tuple[float, float]:
    """What stands behind ``@``; a rate of 0 where it is not of that form.

    Example:
        >>> rate_and_epochs("1e-4x2"), rate_and_epochs("1e-4", 3.0), rate_and_epochs("fast")
        ((0.0001, 2.0), (0.0001, 3.0), (0.0, 1.0))
    """
    found = RATE.fullmatch(given)
    return (float(found[1]), float(found[5] or epochs)) if found else (0.0, epochs)


def prepare(method: str, task: Task, settings: LadderArguments, args: LadderTrainingArguments) -> Any:
    """Make the model that a method trains."""
    model = task.make_model()
    if method == "full":
        return model
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        targets, heads = lora_targets(model), head_modules(model) or None
        return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, modules_to_save=heads))
    if method == "head":
        model.requires_grad_(False)
        for name in head_modules(model):
            model.get_submodule(name).requires_grad_(True)
        return model
    kind, _, rest = method.partition("-")
    init, _, cached = rest.partition("+")
    if kind == "tune":
        ladder = tune_from(model, int(init))
    else:
        layers = settings.layers
        if kind == "both" and layers is not None:  # as densely as over all layers
            layers = max(1, round(layers * int(init) / model.config.num_hidden_layers))
        config = LadderConfig(
            reduction=settings.reduction,
            layers=layers,
            merge=settings.merge,  # type: ignore[arg-type]
            init="magnitude" if kind == "both" else init,  # type: ignore[arg-type]
            whole_from=int(init) if kind == "both" else None,
            dropout=settings.ladder_dropout,
        )
        ladder = get_ladder_model(model, config, batches=init_batches(init, task, settings, args))
    if cached:
        # All seeds and inits share it: it depends on the backbone, the layers and the rows only.
        taps = "taps" if kind == "ladder" else f"taps-{kind}-{init}"
        parts = ("train",) if settings.task == "seq2seq" else ("train", *SCORED)
        rows = [row for part in parts for row in task.parts.get(part, [])]
        with torch.autocast(ladder.device.type, torch.bfloat16, enabled=args.bf16):
            folder = Path(args.output_dir) / taps
            cache = ladder.cache_taps(rows, folder, task.collate, dtype=settings.tap_dtype, over_processes=True)
            ladder.use_tap_cache(cache)
    return ladder


def give_side_network_its_own_rate(ladder: LadderModel, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Move a ladder's side network to a group of its own: beside pretrained layers it begins with little."""
    side = {parameter for module in ladder.side_modules() for parameter in module.parameters()}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if parameter in side]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if parameter not in side]
            optimizer.add_param_group({**group, "params": moved, "lr": rate})


def mean_over_processes(value: float, trainer: TechniqueSeq2SeqTrainer) -> float:
    """Of a number that each process has found for its own rows."""
    found = torch.tensor(value, dtype=torch.float64, device=trainer.args.device)
    return float(trainer.accelerator.reduce(found, "mean"))


def activation_bytes(model: Any, batch: Row) -> int:
    """What a training batch keeps for its backward pass."""
    inputs = {name: value.to(model.device) for name, value in batch.items()}
    return saved_activation_bytes(model.train(), lambda: model(**inputs))


def init_batches(init: str, task: Task, settings: LadderArguments, args: LadderTrainingArguments) -> list[Row] | None:
    """The batches that an init learns from: labelled rows one at a time for fisher, any text for distillation."""
    if init not in ("fisher", "distill"):
        return None
    part, size, count = "train", 1, settings.fisher_rows
    if init == "distill":
        part, size, count = "text", args.per_device_train_batch_size, settings.distill_batches
    loader: Any = DataLoader(task.parts[part], size, shuffle=True, collate_fn=task.collate)  # type: ignore[arg-type]
    return [dict(batch) for batch in islice(chain.from_iterable(repeat(loader)), count)]


class Task:
    """What the rows of the files are: how they are encoded, what is trained on them, how answers are scored.

    Attributes:
        raw: rows of ``train``, ``dev`` and, if there is a file for it, ``test``; if a method distills also ``text``,
            all rows of the training file, without labels unless the model reads those.
        parts: the same rows, tokenized.
        collate: makes a batch.
        reduce_logits: the part of the logits that is kept for scoring; ``None`` keeps all.
        metric: name of the score, which lies between 0 and 1.
    """

    columns: tuple[str, ...]
    metric: str
    collate: Any
    reduce_logits: Any = None

    def __init__(self, settings: LadderArguments) -> None:
        self.settings, self.model = settings, find_model(settings.model)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.model)
        self.raw = read_parts(settings, self.columns)
        self.prepare()
        self.parts = {name: [self.encode(row) for row in rows] for name, rows in self.raw.items()}

    def prepare(self) -> None:
        """Find the labels, and set what depends on them."""

    def tokens(self, *texts: str, **options: Any) -> Row:
        """Tokenize a text or a pair."""
        return dict(self.tokenizer(*texts, truncation=True, max_length=self.settings.max_length, **options))

    def encode(self, row: Row) -> Row:
        """Tokenize a row, and number its labels if it has some."""
        raise NotImplementedError

    def make_model(self) -> Any:
        """A fresh model with a head for the task, drawn from the current seed."""
        raise NotImplementedError

    def score(self, part: str, predicted: np.ndarray) -> float:
        """Score the predictions for a part."""
        raise NotImplementedError

    def name_labels(self, names: Sequence[str]) -> None:
        """Number the labels."""
        self.names, self.numbers = list(names), {name: number for number, name in enumerate(names)}
        self.labels = {"label2id": self.numbers, "id2label": dict(enumerate(names))}

    def number_of(self, label: str) -> int:
        """The number of a label, which the training rows must have."""
        if label not in self.numbers:
            known = ", ".join(self.names)
            raise ValueError(
                f"no training row has the label {label!r} of another part; they have {known}. Where "
                "max_train_rows leaves rows out, raise it"
            )
        return self.numbers[label]


class Classification(Task):
    """Texts, or pairs of texts, with a class each; scored by accuracy."""

    columns, metric = ("text", "label"), "accuracy"

    def prepare(self) -> None:
        """Keep the best class only, so that the scores of a whole part fit in memory."""
        self.name_labels(sorted({str(row["label"]) for row in self.raw["train"]}))
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.reduce_logits = lambda logits, labels: refuse_nan(logits).argmax(dim=-1)

    def encode(self, row: Row) -> Row:
        """Tokenize a text or a pair."""
        encoded = self.tokens(*(row[name] for name in ("text", "text_pair") if name in row))
        return {**encoded, "labels": self.number_of(str(row["label"]))} if "label" in row else encoded

    def make_model(self) -> Any:
        """A classifier of texts."""
        return AutoModelForSequenceClassification.from_pretrained(self.model, dtype=torch.float32, **self.labels)

    def score(self, part: str, predicted: np.ndarray) -> float:
        """The share of right classes."""
        return float(np.mean(predicted == [row["labels"] for row in self.parts[part]]))


class Tagging(Task):
    """Texts with spans; every token is tagged, and spans are scored by F1."""

    columns, metric = ("text", "spans"), "span F1"

    def prepare(self) -> None:
        """Keep the best valid sequence of labels only."""
        types = sorted({span[2] for row in self.raw["train"] for span in row["spans"]})
        self.name_labels(["O", *[f"{prefix}-{name}" for name in types for prefix in "BI"]])
        self.collate = DataCollatorForTokenClassification(self.tokenizer)
        self.reduce_logits = lambda logits, labels: decode_bio(refuse_nan(logits), labels != -100, self.names)

    def encode(self, row: Row) -> Row:
        """Tokenize a text, and give each token the label of its characters."""
        encoded = self.tokens(row["text"], return_offsets_mapping=True)
        offsets = without_overlaps(encoded.pop("offset_mapping"))
        if "spans" not in row:
            return encoded
        labels, _ = align_labels(gold_labels(row), offsets)
        return {**encoded, "labels": [-100 if label is None else self.number_of(label) for label in labels]}

    def make_model(self) -> Any:
        """A classifier of tokens."""
        return AutoModelForTokenClassification.from_pretrained(self.model, dtype=torch.float32, **self.labels)

    def score(self, part: str, predicted: np.ndarray) -> float:
        """F1 of whole spans of characters."""
        found = []
        for row, classes in zip(self.raw[part], predicted, strict=True):
            offsets = without_overlaps(self.tokens(row["text"], return_offsets_mapping=True)["offset_mapping"])
            tags = [
                self.names[number] if start < end else None
                for (start, end), number in zip(offsets, classes[: len(offsets)], strict=True)
            ]
            found.append(bio_to_spans(spread_labels(tags, offsets, len(row["text"]))))
        return score_spans([bio_to_spans(gold_labels(row)) for row in self.raw[part]], found)["all"].f1


class Seq2Seq(Task):
    """Texts with a target each; scored by ROUGE-L of characters."""

    columns, metric = ("text", "target"), "ROUGE-L"

    def prepare(self) -> None:
        """Pad labels, too, and say now, not after the training, what cannot be scored."""
        self.collate = DataCollatorForSeq2Seq(self.tokenizer)
        for part in self.raw.keys() & set(SCORED):
            character_scores(self.targets(part), self.targets(part))

    def targets(self, part: str) -> list[str]:
        """What should be written."""
        return [row["target"] for row in self.raw[part]]

    def encode(self, row: Row) -> Row:
        """Tokenize a text and its target."""
        limit = self.settings.max_target_length
        target = self.tokenizer(text_target=row["target"], truncation=True, max_length=limit)
        return {**self.tokens(row["text"], return_token_type_ids=False), "labels": target["input_ids"]}

    def make_model(self) -> Any:
        """An encoder-decoder model with its pretrained head."""
        return open_encoder_decoder(self.model, dtype=torch.float32)

    def score(self, part: str, predicted: np.ndarray) -> float:
        """The mean over texts."""
        ids = np.where(predicted < 0, self.tokenizer.pad_token_id, predicted)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return character_scores(texts, self.targets(part))["rouge-l"]


def gold_labels(row: Row) -> list[str]:
    """The BIO label of each character."""
    return spans_to_bio([Span(*span) for span in row["spans"]], len(row["text"]))


def refuse_nan(logits: torch.Tensor) -> torch.Tensor:
    """The logits, unless a model that has diverged has made them: of nothing but NaN, the first class is the best."""
    if logits.isnan().any():
        raise ValueError("the model answers NaN, so training has diverged: try a lower learning rate")
    return logits


def read_parts(settings: LadderArguments, columns: Sequence[str]) -> dict[str, list[Row]]:
    """Read the files, and check every row."""
    wanted = {
        "train": (settings.train_file, settings.max_train_rows),
        "dev": (settings.dev_file, settings.max_dev_rows),
    }
    if settings.test_file is not None:
        wanted["test"] = (settings.test_file, None)
    if any(method.startswith("ladder-distill") for method in settings.methods):
        wanted["text"] = (settings.train_file, None)
    parts: dict[str, list[Row]] = {}
    for name, (file, limit) in wanted.items():
        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file!r}; recipes/ladder_data.py writes some")
        records = list(read_records(file))[:limit]
        if not records:
            raise ValueError(f"{file} holds no rows")
        for number, row in records:
            missing = [column for column in columns if row.get(column) is None]
            if missing:
                raise ValueError(f"{file}, line {number} has no {missing[0]!r}; {settings.task} needs {columns}")
            texts = [name for name in ("text", "text_pair", "target") if not isinstance(row.get(name, ""), str)]
            if texts:
                raise ValueError(f"{file}, line {number}: {texts[0]!r} must be a text; it is {row[texts[0]]!r}")
        parts[name] = [row for _, row in records]
        if name in SCORED:  # batches of similar lengths need little padding
            parts[name].sort(key=lambda row: len(row["text"]) + len(row.get("text_pair", "")))
    for row in parts.get("text", []):
        row.pop("label", None)
        row.pop("spans", None)
    return parts


def write_report(results: list[Row], output: Path) -> None:
    """Write ``results.jsonl``, ``table.md`` and, where matplotlib is installed, ``quality.svg``."""
    write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
    write_text(output / "table.md", method_table(results, SCORED, baseline="full"))
    if find_spec("matplotlib") is not None:
        plot_methods(results, [part for part in SCORED if part in results[0]][-1], output / "quality.svg")


if __name__ == "__main__":
    run_recipe(main)
