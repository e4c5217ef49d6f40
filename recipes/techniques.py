"""Fine-tuning as it is, and with one loss or technique more, on the kind of set that this is meant for.

    python recipes/technique_data.py tnews $NLPKIT_DATA/clue/tnews10k data/techniques/tnews
    python recipes/techniques.py recipes/configs/techniques/tnews.yaml

Every arm is run with the same seeds. ``base x2`` takes twice the steps of ``base``: what a technique of two passes has
to be compared with at equal compute. Writes ``results.jsonl``, ``table.md`` and ``table.svg``. Called again after an
interruption, it goes on where it was. An arm may name its strength: ``--arms base fgm=0.3``; choose it on dev alone,
with other seeds and in another folder (``--parts dev --seeds 100 --output_dir runs/search``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
    set_seed,
)

from nlpkit import TechniqueTrainer
from nlpkit.files import only_writer, read_json, write_text
from nlpkit.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    DiceLoss,
    ExactLoss,
    F1WeightedLoss,
    FlatNCELoss,
    FocalLoss,
    InfoNCELoss,
    LogitAdjustedLoss,
    Loss,
    NonContrastiveLoss,
    SoftF1Loss,
    SoftTruncationLoss,
    ZLPRLoss,
    balanced_accuracy,
    pool,
    posthoc_adjust,
    predictor,
)
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    arm_table,
    effects,
    parse_recipe_arguments,
    plot_effects,
    run_arms,
    run_recipe,
    settle_facts,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.tasks.classification import ClassSet, LabelSet, score_labels
from nlpkit.text_files import read_records
from nlpkit.training import (
    EMA,
    FGM,
    PGD,
    SWA,
    Flooding,
    FreeLB,
    GradientPenalty,
    LayerRates,
    RDrop,
    SimCSE,
    Technique,
    Unfreezing,
    VirtualAdversarial,
    WeightScaleInvariant,
    bf16_is_fast,
    fast_attention,
)

Row = dict[str, Any]


@dataclass
class TechniquesTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/techniques"
    max_steps: int = field(default=600, metadata={"help": "optimizer steps of the base arm"})
    per_device_train_batch_size: int = 32
    learning_rate: float = 1e-4
    train_sampling_strategy: str = "group_by_length"
    save_strategy: str = "no"
    bf16: bool = bf16_is_fast()


@dataclass
class Data:
    """What an arm may look at.

    Attributes:
        priors: frequencies of classes in training.
        dim: of the model's states.
        strength: of the arm, if it was named.
        has_strength: whether the arm has asked for it.
    """

    priors: Tensor | None
    dim: int
    strength: float | None
    has_strength: bool = False

    def or_else(self, default: float) -> float:
        """The strength."""
        self.has_strength = True
        return default if self.strength is None else self.strength


@dataclass
class Arm:
    """How an arm trains.

    Attributes:
        loss: in place of the head's.
        techniques: beside the rates of the head and of what is below it.
        adjust: of logits, once trained.
        decay: of the learning rate from a block to the next one down.
        passes: forward and backward passes of a row in a step.
        steps: of the base arm, how often.
        bf16: whether it may, where the settings say so.
    """

    loss: Loss | None = None
    techniques: Sequence[Technique] = ()
    adjust: Callable[[Tensor], Tensor] | None = None
    decay: float = 1.0
    passes: float = 1.0
    steps: float = 1.0
    bf16: bool = True


def technique(passes: float, make: Callable[[float], Technique], default: float) -> Callable[[Data], Arm]:
    """An arm of one technique of a strength."""
    return lambda data: Arm(techniques=[make(data.or_else(default))], passes=passes)


def loss(make: Callable[[Data], Loss], passes: float = 1.0) -> Callable[[Data], Arm]:
    """An arm of another loss."""
    return lambda data: Arm(loss=make(data), passes=passes)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Weights of the blocks and the head, not the embeddings."""
    return parameter.dim() == 2 and "embeddings" not in name


def priors_of(data: Data) -> Tensor:
    """Frequencies of classes, where there are classes."""
    if data.priors is None:
        raise ValueError("logit adjustment is for rows of classes or labels")
    return data.priors


def odds_of(data: Data) -> Tensor:
    """How many rows lack a label for each that has it."""
    priors = priors_of(data).clamp(min=1e-6)
    return (1 - priors) / priors


#: Arms by name; the number is the strength without which they are named. One more is one more line.
ARMS: dict[str, dict[str, Callable[[Data], Arm]]] = {
    "classes": {
        "base": lambda data: Arm(),
        "base x2": lambda data: Arm(steps=2),
        "base x3": lambda data: Arm(steps=3),
        "base x4": lambda data: Arm(steps=4),
        "label-smoothing": loss(lambda data: CrossEntropyLoss(label_smoothing=data.or_else(0.1))),
        "r-drop": technique(2, RDrop, 4.0),
        "fgm": technique(2, FGM, 0.02),
        "pgd": technique(4, PGD, 0.02),
        "free-lb": technique(3, FreeLB, 0.02),
        "gradient-penalty": lambda data: Arm(techniques=[GradientPenalty(data.or_else(1.0))], passes=2, bf16=False),
        "vat": technique(3, lambda strength: VirtualAdversarial(epsilon=strength, xi=0.15), 0.02),
        "flooding": technique(1, Flooding, 0.1),
        "instance-flooding": technique(1, lambda level: Flooding(level, per="instance"), 0.1),
        "ema": technique(1, EMA, 0.99),
        "swa": technique(1, SWA, 0.5),
        "weissi": technique(1, lambda strength: WeightScaleInvariant(strength, parameters=is_matrix), 1e-4),
        "layer-rates": lambda data: Arm(decay=data.or_else(0.8)),
        "unfreezing": technique(1, Unfreezing, 0.5),
        "focal": loss(lambda data: FocalLoss(data.or_else(2.0))),
        "soft-truncation": loss(lambda data: SoftTruncationLoss(data.or_else(1.0))),
        "logit-adjusted": loss(lambda data: LogitAdjustedLoss(priors_of(data), data.or_else(1.0))),
        "posthoc-adjusted": lambda data: Arm(
            adjust=partial(posthoc_adjust, prior=priors_of(data), tau=data.or_else(1.0))
        ),
        "dice": loss(lambda data: DiceLoss()),
        "exact": loss(lambda data: ExactLoss(data.or_else(1.0))),
    },
    "labels": {
        "base": lambda data: Arm(),
        "base x2": lambda data: Arm(steps=2),
        "base x4": lambda data: Arm(steps=4),
        "base x16": lambda data: Arm(steps=16),
        "zlpr": loss(lambda data: ZLPRLoss(gamma=data.or_else(1.0))),
        "zlpr x4": lambda data: Arm(loss=ZLPRLoss(), steps=4),
        "pos-weight": loss(lambda data: BinaryCrossEntropyLoss(pos_weight=odds_of(data) ** data.or_else(0.5))),
        "focal": loss(lambda data: FocalLoss(data.or_else(2.0), multi_label=True)),
        "f1-weighted": loss(lambda data: F1WeightedLoss(data.or_else(0.9))),
        "soft-f1": loss(lambda data: SoftF1Loss(multi_label=True)),
        "logit-adjusted": loss(lambda data: LogitAdjustedLoss(priors_of(data), data.or_else(1.0), multi_label=True)),
        "r-drop": technique(2, RDrop, 4.0),
        "fgm": technique(2, FGM, 0.02),
        "zlpr + r-drop": lambda data: Arm(loss=ZLPRLoss(), techniques=[RDrop(data.or_else(4.0))], passes=2),
        "zlpr + fgm": lambda data: Arm(loss=ZLPRLoss(), techniques=[FGM(data.or_else(0.02))], passes=2),
    },
    "pairs": {
        "untrained": lambda data: Arm(steps=0),
        "base": lambda data: Arm(loss=InfoNCELoss(data.or_else(0.1)), techniques=[SimCSE()]),
        "flat-nce": lambda data: Arm(loss=FlatNCELoss(data.or_else(0.05)), techniques=[SimCSE()]),
        "simsiam": lambda data: Arm(loss=NonContrastiveLoss(predictor(data.dim)), techniques=[SimCSE()]),
    },
}


#: What each task's answers are scored by.
METRICS = {
    "classes": ["accuracy", "balanced accuracy"],
    "labels": ["micro F1", "macro F1", "exact"],
    "pairs": ["spearman"],
}


@dataclass
class TechniquesArguments:
    """What to compare on what."""

    train_file: str
    dev_file: str
    test_file: str
    task: str = field(
        default="classes", metadata={"help": "what rows have", "choices": ["classes", "labels", "pairs"]}
    )
    metrics: list[str] = field(
        default_factory=list, metadata={"help": "to show, of METRICS; the first decides; by default the task's first"}
    )
    arms: list[str] = field(default_factory=lambda: ["base"], metadata={"help": "see ARMS; 'name=strength'"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "one run each"})
    parts: list[str] = field(default_factory=lambda: ["dev", "test"], metadata={"help": "to score"})
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    head_learning_rate: float = field(default=1e-3, metadata={"help": "of the head, which begins at random"})
    rates: list[str] = field(
        default_factory=list,
        metadata={"help": "learning rates of an arm and its head where they are others: 'base=1e-4/5e-3'"},
    )
    max_length: int = 48


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([TechniquesArguments, TechniquesTrainingArguments], argv)
    settings.metrics = settings.metrics or METRICS[settings.task][:1]
    refuse_unknown("metrics", settings.metrics, METRICS[settings.task])
    refuse_unknown("parts", settings.parts, ["dev", "test"])
    for arm in settings.arms:
        split_arm(arm, settings.task)
    rates = {arm: rates_of(arm, settings, args.learning_rate) for arm in settings.arms}
    output = Path(args.output_dir)
    with only_writer(output):
        facts = asdict(settings) | {"arms": [], "seeds": [], "metrics": [], "rates": []} | training_facts(args)
        settle_facts(output / "run.json", facts, begins=not any(output.glob("*/seed-*/result.json")))
        task = {"classes": Classes, "labels": Labels, "pairs": Pairs}[settings.task](settings)
        refuse_other_rates(output, rates)
        for arm in settings.arms:
            make_arm(arm, task, dim=2)
        results = run_arms(
            settings.arms,
            settings.seeds,
            output,
            run=partial(run, task=task, settings=settings, args=args, rates=rates),
            report=partial(write_report, settings=settings, output=output),
        )
    print((output / "table.md").read_text("utf-8"))
    return results


def refuse_unknown(kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    """What is only asked for once a model is trained is looked at before.

    Raises:
        ValueError: one is not known.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"{kind}: {name!r} is none of {', '.join(known)}")


def split_arm(text: str, task: str) -> tuple[str, float | None]:
    """Name and strength of an arm.

    Raises:
        ValueError: there is no such arm, or the strength is no number.
    """
    name, given, strength = text.partition("=")
    if name not in ARMS[task]:
        raise ValueError(f"unknown arm {name!r} for {task}; use {', '.join(ARMS[task])}")
    try:
        return name, float(strength) if given else None
    except ValueError:
        raise ValueError(f"the strength of arm {text!r} is no number") from None


def rates_of(arm: str, settings: TechniquesArguments, rate: float) -> tuple[float, float]:
    """Learning rates of an arm and of its head; plain training for longer has those of ``base``.

    Raises:
        ValueError: a rate is no number, or there is no such arm; arms that are not run now may have rates.
    """
    found = (rate, settings.head_learning_rate)
    for text in settings.rates:
        name, _, given = text.rpartition("=")
        try:
            split_arm(name, settings.task)
        except ValueError as error:
            raise ValueError(f"rates: {text!r} names no arm; give ARM=RATE/RATE OF THE HEAD: {error}") from None
        body, _, head = given.partition("/")
        try:
            own = (float(body), float(head))
        except ValueError:
            raise ValueError(f"rates: {text!r} has no two numbers; give ARM=RATE/RATE OF THE HEAD") from None
        if name == arm or (name == "base" and arm.startswith("base x")):
            found = own
    return found


def refuse_other_rates(output: Path, rates: dict[str, tuple[float, float]]) -> None:
    """Runs of one arm at different rates are no seeds of one thing.

    Raises:
        ValueError: the folder holds a run of an arm at other rates.
    """
    for file in sorted(output.glob("*/seed-*/result.json")):
        row = read_json(file)
        now = rates.get(row["arm"])
        if now is not None and tuple(row.get("rates", now)) != now:
            raise ValueError(
                f"{file.parent} was trained at the rates {row['rates']}, and {row['arm']!r} now has {list(now)}: give "
                "another output_dir"
            )


def make_arm(text: str, task: Task, dim: int) -> Arm:
    """How an arm of a task trains a model whose states have a dimension.

    Raises:
        ValueError: a strength was named for an arm that has none.
    """
    name, strength = split_arm(text, task.settings.task)
    data = Data(task.priors, dim, strength)
    arm = ARMS[task.settings.task][name](data)
    if strength is not None and not data.has_strength:
        raise ValueError(f"arm {name!r} has no strength, so that {text!r} is {name!r}")
    return arm


def run(
    text: str,
    seed: int,
    output: Path,
    task: Task,
    settings: TechniquesArguments,
    args: TechniquesTrainingArguments,
    rates: dict[str, tuple[float, float]],
) -> Row:
    """Train and score one model."""
    set_seed(seed)  # before the model is made, for its head
    model = task.make_model()
    arm = make_arm(text, task, model.config.hidden_size)
    steps = round(args.max_steps * arm.steps)
    rate, head_rate = rates[text]
    own = [LayerRates(arm.decay, head_rate)] if task.has_head else []
    trainer = TechniqueTrainer(
        model=model,
        args=replace(
            args,
            seed=seed,
            output_dir=str(output),
            max_steps=max(1, steps),
            learning_rate=rate,
            bf16=args.bf16 and arm.bf16,
        ),
        data_collator=task.collate,
        train_dataset=task.parts["train"],
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
        loss=arm.loss,
        techniques=[*own, *arm.techniques],
    )
    begin = perf_counter()
    if steps:
        with fast_attention(model):
            trainer.train()
    seconds = perf_counter() - begin
    scores = {part: task.score(trainer, part, arm.adjust) for part in settings.parts}
    return {
        "steps": steps,
        "passes": arm.passes,
        "rates": [rate, head_rate],
        **{f"{part} {metric}": value for part, found in scores.items() for metric, value in found.items()},
        "seconds": round(seconds, 1),
    }


class Task:
    """What rows are: how they are encoded and labelled, and how answers are scored."""

    has_head = True
    priors: Tensor | None = None

    def __init__(self, settings: TechniquesArguments) -> None:
        self.settings, self.model = settings, find_model(settings.model)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.model)
        files = {"train": settings.train_file, "dev": settings.dev_file, "test": settings.test_file}
        self.raw = {
            name: [row for _, row in read_records(file)]
            for name, file in files.items()
            if name in ("train", *settings.parts)
        }
        self.prepare()
        self.parts = {name: self.encode(rows) for name, rows in self.raw.items()}
        self.collate: Any = DataCollatorWithPadding(self.tokenizer)

    def prepare(self) -> None:
        """Count what there is in training."""

    def encode(self, rows: list[Row]) -> list[Row]:
        """Tokenized rows, with numbers for labels."""
        raise NotImplementedError

    def make_model(self) -> Any:
        """A fresh model, its head drawn from the current seed."""
        raise NotImplementedError

    def score(
        self, trainer: TechniqueTrainer, part: str, adjust: Callable[[Tensor], Tensor] | None
    ) -> dict[str, float]:
        """Fractions by metric."""
        raise NotImplementedError

    def tokens(self, texts: Sequence[str]) -> list[Row]:
        """Texts as rows of ids."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.settings.max_length)
        names = [name for name in encoded if name != "token_type_ids"]
        return [{name: encoded[name][place] for name in names} for place in range(len(texts))]

    def logits(self, trainer: TechniqueTrainer, part: str, adjust: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Of all rows, in their order."""
        trainer.args.train_sampling_strategy = "sequential"  # or predictions would come grouped by length, too
        rows = [{name: value for name, value in row.items() if name != "labels"} for row in self.parts[part]]
        found = torch.as_tensor(np.asarray(trainer.predict(rows).predictions))  # type: ignore[arg-type]
        return found if adjust is None else adjust(found)


class AnsweredTexts(Task):
    """Texts with a class, or with any number of labels."""

    answer_set: type[ClassSet] | type[LabelSet]

    def prepare(self) -> None:
        """Number the answers, and count them."""
        self.answers = self.answer_set.of(self.raw["train"])
        self.priors = self.answers.priors

    def encode(self, rows: list[Row]) -> list[Row]:
        """A number for the class, -100 where training lacks it, or one for each label."""
        encoded, labels = self.tokens([row["text"] for row in rows]), self.answers.numbers(rows).tolist()
        return [{**row, "labels": label} for row, label in zip(encoded, labels, strict=True)]

    def make_model(self) -> Any:
        """A classifier, whose head knows the answers by name."""
        return AutoModelForSequenceClassification.from_pretrained(
            self.model, dtype=torch.float32, **self.answers.config
        )


class Classes(AnsweredTexts):
    """One class per text."""

    answer_set = ClassSet

    def score(
        self, trainer: TechniqueTrainer, part: str, adjust: Callable[[Tensor], Tensor] | None
    ) -> dict[str, float]:
        """Accuracy, of all rows and averaged over classes; classes that training lacks cannot be found."""
        predicted = self.logits(trainer, part, adjust).argmax(dim=-1)
        labels = torch.tensor([row["labels"] for row in self.parts[part]])
        return {
            "accuracy": (predicted == labels).double().mean().item(),
            "balanced accuracy": balanced_accuracy(predicted, labels),
        }


class Labels(AnsweredTexts):
    """Any number of labels per text; one applies where its logit is above 0."""

    answer_set = LabelSet

    def score(
        self, trainer: TechniqueTrainer, part: str, adjust: Callable[[Tensor], Tensor] | None
    ) -> dict[str, float]:
        """F1 of all labels together, and averaged over those that occur; rows that are right as a whole."""
        said = self.logits(trainer, part, adjust) > 0
        scores = score_labels(said, self.answers.numbers(self.raw[part]), self.answers.counts).scores
        return {name: scores[name] for name in METRICS["labels"]}


class Pairs(Task):
    """Pairs of texts with a likeness; trained on texts alone, scored by the rank of their cosines."""

    has_head = False

    def encode(self, rows: list[Row]) -> list[Row]:
        """All texts, each once."""
        return self.tokens(list(dict.fromkeys(text for row in rows for text in (row["text"], row["text_pair"]))))

    def make_model(self) -> Any:
        """An encoder without a head."""
        return AutoModel.from_pretrained(self.model, dtype=torch.float32, add_pooling_layer=False)

    @torch.no_grad()
    def score(
        self, trainer: TechniqueTrainer, part: str, adjust: Callable[[Tensor], Tensor] | None
    ) -> dict[str, float]:
        """Spearman's correlation of cosines and likeness."""
        from scipy.stats import spearmanr

        model: Any = trainer.model
        model.eval()
        sides: list[Tensor] = []
        for side in ("text", "text_pair"):
            rows, parts = self.tokens([row[side] for row in self.raw[part]]), []
            for start in range(0, len(rows), 64):
                batch = self.collate(rows[start : start + 64]).to(model.device)
                parts.append(pool(model(**batch), batch["attention_mask"]))
            sides.append(torch.cat(parts))
        cosines = torch.cosine_similarity(sides[0], sides[1])
        return {"spearman": float(spearmanr(cosines.cpu(), [row["score"] for row in self.raw[part]]).statistic)}


def columns_of(settings: TechniquesArguments) -> list[str]:
    """What is shown of each run; the first one is compared."""
    return [f"{part} {metric}" for part in reversed(settings.parts) for metric in settings.metrics]


def write_report(results: Sequence[Row], settings: TechniquesArguments, output: Path) -> None:
    """All runs, the table, and the picture of what each arm adds."""
    columns = columns_of(settings)
    write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
    write_text(output / "table.md", arm_table(results, columns))
    if found := effects(results, columns[0]):
        plot_effects({columns[0]: found}, output / "table.svg")


if __name__ == "__main__":
    run_recipe(main)
