"""Rare classes and labels: what losses do for them, for the others, and for the probabilities.

Source: logit adjustment (arXiv 2007.07314; kexue.fm/archives/7615), focal loss (arXiv 1708.02002), ZLPR (arXiv
2208.02955; kexue.fm/archives/7359), temperature scaling (arXiv 1706.04599).

    python recipes/technique_data.py reuters $NLPKIT_DATA/longtail-multilabel/reuters-r52 data/techniques/reuters
    python recipes/long_tail.py recipes/configs/long_tail/reuters.yaml

Files are JSON lines of ``text`` and ``label``, or ``labels``, a list. An arm is a loss, or ``posthoc-adjusted``,
which reads the model of ``plain`` in another way; ``logit-adjusted=0.5`` names its strength. Logits of dev and test
are kept, of which all scores are made, and the temperature is fitted on those of dev.

``output_dir`` holds results.jsonl, table.md and, where matplotlib is installed, effects.svg (differences to
``plain``), classes.svg (scores by frequency) and reliability.svg. Called again after an interruption, it keeps what
is finished, and the current training goes on from its last checkpoint. ``--keep_models true`` keeps models, which
``CalibratedClassifier.from_pretrained`` loads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)

from nlpkit.files import only_writer, read_json, whole_file, write_json, write_text
from nlpkit.losses import FocalLoss, LogitAdjustedLoss, Loss, ZLPRLoss, posthoc_adjust
from nlpkit.pet import HeadClassifier
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    arm_table,
    effects,
    parse_recipe_arguments,
    plot_effects,
    remove_checkpoints,
    run_arms,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.tasks.classification import (
    CalibratedClassifier,
    ClassSet,
    LabelSet,
    LongTailReport,
    Reliability,
    TemperatureScaling,
    plot_by_frequency,
    plot_reliability,
    probability_errors,
    reliability,
    score_classes,
    score_labels,
)
from nlpkit.text_files import read_records
from nlpkit.training import LayerRates, TechniqueTrainer, bf16_is_fast, fast_attention

Row = dict[str, Any]
SCORED = ("dev", "test")
#: Arms of each task, and the strength without which those that have one are named.
ARMS: dict[str, dict[str, float | None]] = {
    "classes": {"plain": None, "logit-adjusted": 1.0, "posthoc-adjusted": 1.0, "focal": 2.0},
    "labels": {"plain": None, "zlpr": None, "logit-adjusted": 1.0, "posthoc-adjusted": 1.0, "focal": 2.0},
}
#: What is shown of both; the first one decides.
SCORES = {
    "classes": ["balanced accuracy", "accuracy", "macro F1", "head", "medium", "tail"],
    "labels": ["macro F1", "micro F1", "exact", "head", "medium", "tail"],
}
ERRORS = ("ECE", "ACE", "Brier")


@dataclass
class LongTailTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/long_tail"
    max_steps: int = 300
    per_device_train_batch_size: int = 32
    learning_rate: float = 2e-4
    train_sampling_strategy: str = "group_by_length"
    save_steps: float = 100
    save_total_limit: int | None = 1
    bf16: bool = bf16_is_fast()


@dataclass
class LongTailArguments:
    """What to compare on what."""

    train_file: str
    dev_file: str
    test_file: str
    task: str = field(default="classes", metadata={"help": "what rows have", "choices": ["classes", "labels"]})
    arms: list[str] = field(default_factory=lambda: ["plain"], metadata={"help": "see ARMS; 'name=strength'"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "one run each"})
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    head_learning_rate: float = field(default=1e-3, metadata={"help": "of the head, which begins at random"})
    max_length: int = field(default=48, metadata={"help": "tokens; longer texts are cut"})
    limits: list[int] = field(
        default_factory=lambda: [20, 100], metadata={"help": "training rows below which is the tail, above the head"}
    )
    balanced: bool = field(
        default=False,
        metadata={
            "help": "dev and test have as many rows of each class, whatever training has, and so are probabilities"
        },
    )
    bins: int = field(default=15, metadata={"help": "of confidence, for calibration"})
    keep_models: bool = field(default=False, metadata={"help": "save each model with its temperature"})


class Arm(NamedTuple):
    """How an arm trains, and how its logits are read.

    Attributes:
        model: the name of what is trained, which arms may share.
        loss: in place of the head's.
        removed: what of the priors is taken out of logits, which then decide as if all classes were as frequent.
        added: what of the priors is put into logits before they become probabilities of rows like those of training.
        temperature: of probabilities as the loss means them.
    """

    model: str
    loss: Loss | None = None
    removed: float = 0.0
    added: float = 0.0
    temperature: float = 1.0


class Data:
    """The rows of all parts, their answers by number, and texts as tokens."""

    def __init__(self, settings: LongTailArguments) -> None:
        files = {"train": settings.train_file, "dev": settings.dev_file, "test": settings.test_file}
        self.rows = {part: [row for _, row in read_records(file)] for part, file in files.items()}
        kind = LabelSet if settings.task == "labels" else ClassSet
        self.answers: ClassSet | LabelSet = kind.of(self.rows["train"])
        self.right = {part: self.answers.numbers(rows) for part, rows in self.rows.items()}
        for part, rows in self.rows.items():
            for place, row in enumerate(rows):
                if not isinstance(row.get("text"), str):
                    raise ValueError(f"{files[part]}: row {place} has no text; it has {', '.join(row)}")
            if lost := int((self.right[part] == -100).sum()):
                lacking = (
                    f"{lost} of {len(rows)} rows of {part} have a class that training lacks, and count for nothing"
                )
                warn(lacking, stacklevel=2)
        self.source = find_model(settings.model)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.source)
        encoded = self.tokenizer(
            [row["text"] for row in self.rows["train"]], truncation=True, max_length=settings.max_length
        )
        names = [name for name in encoded if name != "token_type_ids"]
        self.train = [
            {"labels": label} | {name: encoded[name][place] for name in names}
            for place, label in enumerate(self.right["train"].tolist())
        ]


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([LongTailArguments, LongTailTrainingArguments], argv)
    for arm in settings.arms:
        split_arm(arm, settings.task)
    if len(settings.limits) != 2:
        raise ValueError(f"limits are {settings.limits}: give two, such as 20 100")
    output = Path(args.output_dir)
    with only_writer(output):
        facts = asdict(settings) | {"arms": [], "seeds": []} | training_facts(args)
        begun = [*output.glob("*/seed-*/checkpoint-*"), *output.glob("*/seed-*/*.safetensors")]
        settle_facts(output / "run.json", facts, begins=not begun)
        data = Data(settings)
        results = run_arms(
            settings.arms,
            settings.seeds,
            output,
            run=partial(run, data=data, settings=settings, args=args),
            report=partial(write_tables, settings=settings, output=output),
        )
        if find_spec("matplotlib") is not None:
            draw(results, data, settings, output)
    print((output / "table.md").read_text("utf-8"))
    return results


def split_arm(text: str, task: str) -> tuple[str, float]:
    """Name and strength of an arm.

    Raises:
        ValueError: there is no such arm, or its strength is no number, or it has none.
    """
    name, given, strength = text.partition("=")
    if name not in ARMS[task]:
        raise ValueError(f"unknown arm {name!r} for {task}; use {', '.join(ARMS[task])}")
    default = ARMS[task][name]
    if given and default is None:
        raise ValueError(f"arm {name!r} has no strength, so that {text!r} is {name!r}")
    try:
        return name, float(strength) if given else default or 0.0
    except ValueError:
        raise ValueError(f"the strength of arm {text!r} is no number") from None


def make_arm(text: str, answers: ClassSet | LabelSet) -> Arm:
    """How an arm trains and reads a model of these classes or labels."""
    name, strength = split_arm(text, "labels" if answers.multi_label else "classes")
    if name == "logit-adjusted":
        loss = LogitAdjustedLoss(answers.priors, strength, multi_label=answers.multi_label)
        return Arm(text, loss, added=strength)
    if name == "posthoc-adjusted":
        return Arm("plain", removed=strength)
    if name == "focal":
        return Arm(text, FocalLoss(strength, multi_label=answers.multi_label))
    return Arm(text, ZLPRLoss(), temperature=0.5) if name == "zlpr" else Arm(text)


def run(
    text: str, seed: int, folder: Path, data: Data, settings: LongTailArguments, args: LongTailTrainingArguments
) -> Row:
    """Train one model, or take its logits where they are kept, and score it."""
    arm = make_arm(text, data.answers)
    place = Path(args.output_dir) / arm.model / f"seed-{seed}"
    if not (place / "logits.safetensors").is_file():
        train(arm, seed, place, data, settings, args)
    remove_checkpoints(place)
    logits = kept_logits(place, data)
    row: Row = {"steps": args.max_steps, "passes": 1, "seconds": read_json(place / "training.json")["seconds"]}
    readings = {"": before(arm, data, settings), "scaled ": after(arm, data, settings, logits)}
    row["temperature"] = readings["scaled "].temperature
    for part in SCORED:
        report = report_of(arm, data, settings, logits, part)
        row |= {f"{part} {name}": value for name, value in report.scores.items()}
        for how, scaling in readings.items():
            errors = probability_errors(scaling.probabilities(logits[part]), data.right[part], settings.bins)
            row |= {f"{part} {how}{name}": error for name, error in errors.items()}
    return row


def train(
    arm: Arm, seed: int, folder: Path, data: Data, settings: LongTailArguments, args: LongTailTrainingArguments
) -> None:
    """Train a model from its last checkpoint on, and keep its logits of what is scored, and itself if asked."""
    set_seed(seed)  # before the model is made, for its head
    model = AutoModelForSequenceClassification.from_pretrained(data.source, dtype=torch.float32, **data.answers.config)
    trainer = TechniqueTrainer(
        model=model,
        args=replace(args, seed=seed, output_dir=str(folder)),
        data_collator=DataCollatorWithPadding(data.tokenizer),
        train_dataset=data.train,
        callbacks=[MetricsLog(folder / "metrics.jsonl"), RefuseDivergence()],
        loss=arm.loss,
        techniques=[LayerRates(1.0, settings.head_learning_rate)],
    )
    with fast_attention(model):
        trained = train_from_last_checkpoint(trainer)
    head = HeadClassifier(model, data.tokenizer, data.answers.names, max_length=settings.max_length)
    logits: dict[str, Tensor] = {}
    for part in SCORED:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=args.bf16):
            logits[part] = head.scores([row["text"] for row in data.rows[part]], args.per_device_eval_batch_size)
    if settings.keep_models:
        CalibratedClassifier(head, after(arm, data, settings, logits)).save_pretrained(folder / "model")
    write_json(folder / "training.json", {"seconds": round(trained.seconds, 1)})
    with whole_file(folder / "logits.safetensors") as draft:
        save_file({part: found.contiguous() for part, found in logits.items()}, draft)


def kept_logits(folder: Path, data: Data) -> dict[str, Tensor]:
    """Logits of dev and test.

    Raises:
        ValueError: they are of other rows.
    """
    logits = load_file(folder / "logits.safetensors")
    for part, found in logits.items():
        if found.shape != (len(data.rows[part]), len(data.answers.names)):
            raise ValueError(f"{folder} holds logits of another {part} file; give another output_dir, or remove it")
    return logits


def before(arm: Arm, data: Data, settings: LongTailArguments) -> TemperatureScaling:
    """Probabilities as the loss of an arm means them: of rows like those of training, or of balanced ones."""
    priors = -arm.removed if settings.balanced else arm.added
    if not priors:
        return TemperatureScaling(arm.temperature, data.answers.multi_label)
    nothing = torch.zeros(1, len(data.answers.names))
    shift = posthoc_adjust(nothing, data.answers.priors, -priors, multi_label=data.answers.multi_label)
    return TemperatureScaling(arm.temperature, data.answers.multi_label, tuple(shift[0].tolist()))


def after(arm: Arm, data: Data, settings: LongTailArguments, logits: dict[str, Tensor]) -> TemperatureScaling:
    """Probabilities with the temperature that fits dev."""
    return TemperatureScaling.fit(logits["dev"], data.right["dev"], shift=before(arm, data, settings).shift)


def report_of(
    arm: Arm, data: Data, settings: LongTailArguments, logits: dict[str, Tensor], part: str
) -> LongTailReport:
    """Scores of what an arm decides."""
    (low, high), answers, right = settings.limits, data.answers, data.right[part]
    decisive = posthoc_adjust(logits[part], answers.priors, arm.removed, multi_label=answers.multi_label)
    if answers.multi_label:
        return score_labels(decisive > 0, right, answers.counts, (low, high))
    return score_classes(decisive.argmax(dim=1), right, answers.counts, (low, high))


def columns_of(results: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Those of the test part that there are."""
    return [column for column in (f"test {name}" for name in names) if column in results[0]]


def write_tables(results: Sequence[Row], settings: LongTailArguments, output: Path) -> None:
    """All runs, and their means and deviations."""
    write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
    scores = arm_table(results, columns_of(results, SCORES[settings.task]), "plain")
    errors = arm_table(results, columns_of(results, [f"{how}{n}" for n in ERRORS for how in ("", "scaled ")]), "plain")
    write_text(output / "table.md", f"{scores}\nErrors of probabilities in percent, less is better:\n\n{errors}")


def draw(results: Sequence[Row], data: Data, settings: LongTailArguments, output: Path) -> None:
    """Differences to plain training, scores by frequency, and reliability before and after the temperature."""
    shown = columns_of(results, [SCORES[settings.task][0], "head", "medium", "tail"])
    if groups := {column: found for column in shown if (found := effects(results, column, "plain"))}:
        plot_effects(groups, output / "effects.svg")
    by_class, panels = {}, {}
    for text in settings.arms:
        arm = make_arm(text, data.answers)
        kept = [kept_logits(output / arm.model / f"seed-{seed}", data) for seed in settings.seeds]
        reports = [report_of(arm, data, settings, logits, "test") for logits in kept]
        values = [report.f1 if data.answers.multi_label else report.recall for report in reports]
        by_class[text] = torch.stack(values).mean(dim=0)
        panels[text] = {
            "as trained": curve([before(arm, data, settings)] * len(kept), kept, data, settings),
            "scaled": curve([after(arm, data, settings, logits) for logits in kept], kept, data, settings),
        }
    what = "F1" if data.answers.multi_label else "recall"
    plot_by_frequency(data.answers.names, data.answers.counts, by_class, output / "classes.svg", what=what)
    plot_reliability(panels, output / "reliability.svg")


def curve(
    scalings: Sequence[TemperatureScaling], kept: Sequence[dict[str, Tensor]], data: Data, settings: LongTailArguments
) -> Reliability:
    """The reliability of the test answers of all seeds together."""
    said = [scaling.probabilities(one["test"]) for scaling, one in zip(scalings, kept, strict=True)]
    return reliability(torch.cat(said), torch.cat([data.right["test"]] * len(kept)), bins=settings.bins)


if __name__ == "__main__":
    run_recipe(main)
