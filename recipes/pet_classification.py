"""Sentiment with a masked LM: from no training at all to few labels and much unlabelled text.

Source: kexue.fm/archives/7764, its experiment on one set of reviews: patterns before and after the text; the model as
it is, after masked-LM training on the unlabelled texts, after a few labelled ones, and after both. What knows no
labels is also read calibrated on unlabelled texts.

    nlpkit recipe pet_classification sentiment --data $NLPKIT_DATA/sentiment-zh/bojone

Files are ``sentiment.{train,valid,test}.data``, plain or ``.xz``: a text, a tab and a label per line. Call it again
after an interruption: runs that ended are kept in ``output_dir/results.jsonl``. ``table.md`` has rows for each stage
and a column a pattern, on the test as it is and without the texts that also stand in the training file.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress, product
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm
from transformers import PrinterCallback, set_seed

from nlpkit.files import write_text
from nlpkit.pet import (
    Example,
    FullVocabularyLoss,
    HeadClassifier,
    LabelLoss,
    MaskedTextLoss,
    Objective,
    PetClassifier,
    PetTrainer,
    PetTrainingArguments,
    TextClassifier,
    Verbalizer,
)
from nlpkit.runs import parse_recipe_arguments, run_recipe, settle_facts
from nlpkit.sources import find_model
from nlpkit.text_files import read_lines, read_records
from nlpkit.training import fast_arithmetic

#: Each stage to what its training knows of patterns: nothing, or the one that it is to be good at.
STAGES = {
    "zero-shot": "none",
    "masked-lm": "none",
    "few-shot": "one",
    "semi-supervised": "one",
    "fine-tuning": "none",
}
#: Those that know no labels.
UNTAUGHT = ("zero-shot", "masked-lm")
NO_PATTERN = "no pattern"
AS_IT_IS, CALIBRATED = "as it is", "calibrated"
PARTS = ("valid", "test", "unseen test")


@dataclass
class SentimentArguments:
    """What to train on what."""

    data: str = field(metadata={"help": "folder of sentiment.{train,valid,test}.data, plain or .xz"})
    output_dir: str = "runs/pet_classification"
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    patterns: list[str] = field(default_factory=lambda: ["{mask}满意。{text}"])
    words: str = field(default='{"1": "很", "0": "不"}', metadata={"help": "label words by label, as JSON"})
    trained_patterns: int = field(default=2, metadata={"help": "stages that train a pattern do so with the first few"})
    stages: list[str] = field(default_factory=lambda: list(STAGES), metadata={"help": "rows of the table"})
    labelled: int = field(default=168, metadata={"help": "the first so many training texts keep their labels"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    max_length: int = 128
    few_shot_steps: int = field(default=200, metadata={"help": "of every stage that trains on labels"})
    masked_lm_steps: int = field(default=500, metadata={"help": "of the stage that trains on texts alone"})
    calibration_texts: int = 500
    learning_rate: float = 1e-4
    batch_size: int = 16


def main(argv: list[str]) -> str:
    """Run the recipe and return its table."""
    (settings,) = parse_recipe_arguments([SentimentArguments], argv)
    unknown = [stage for stage in settings.stages if stage not in STAGES]
    if unknown:
        raise ValueError(f"there is no stage {unknown[0]!r}; stages are {', '.join(STAGES)}")
    parts = {name: list(read_reviews(Path(settings.data), name)) for name in ("train", "valid", "test")}
    print(f"{len(parts['test']) - sum(unseen(parts))} of {len(parts['test'])} test texts stand in train too")
    results = Path(settings.output_dir) / "results.jsonl"
    done = {run_key(run): run for run in runs_that_ended(results)}
    growing = {"data": "", "output_dir": "", "stages": [], "seeds": [], "trained_patterns": 0}
    settle_facts(Path(settings.output_dir) / "run.json", asdict(settings) | growing, begins=not done)
    runs = list(planned_runs(settings))
    for key in tqdm(runs, desc="runs", unit="run"):
        if key not in done:
            done[key] = one_run(*key, parts, settings)
            results.parent.mkdir(parents=True, exist_ok=True)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[key], ensure_ascii=False) + "\n")
    table = as_table([done[key] for key in runs], settings)
    write_text(Path(settings.output_dir) / "table.md", table)
    print(table)
    return table


def planned_runs(settings: SentimentArguments) -> Iterator[tuple[str, str, int]]:
    """Stage, the pattern trained with if any, and seed of every run; what nothing random enters is run once."""
    for stage in settings.stages:
        patterns = settings.patterns[: settings.trained_patterns] if STAGES[stage] == "one" else [NO_PATTERN]
        seeds = settings.seeds[:1] if stage == "zero-shot" else settings.seeds
        yield from ((stage, pattern, seed) for pattern in patterns for seed in seeds)


def run_key(run: dict[str, Any]) -> tuple[str, str, int]:
    """What tells one run from another."""
    return run["stage"], run["pattern"], run["seed"]


def one_run(
    stage: str, pattern: str, seed: int, parts: dict[str, list[Example]], settings: SentimentArguments
) -> dict[str, Any]:
    """Train as the stage says, and measure on valid and both tests with every pattern that the run can answer."""
    set_seed(seed)
    folder = find_model(settings.model)
    classifiers = (
        {NO_PATTERN: fine_tuned(folder, seed, parts, settings)}
        if stage == "fine-tuning"
        else prompted(stage, folder, [pattern] if STAGES[stage] == "one" else settings.patterns, seed, parts, settings)
    )
    readings: dict[str, dict[str, dict[str, float]]] = {}
    for asked, classifier in classifiers.items():
        with fast_arithmetic():
            scores = {part: classifier.scores(parts[part]) for part in ("valid", "test")}
            if stage in UNTAUGHT:
                classifier.calibrate([text.without_label() for text in parts["train"][: settings.calibration_texts]])
        readings.setdefault(AS_IT_IS, {})[asked] = accuracies(classifier, scores, parts)
        if classifier.prior is not None:
            adjusted = {part: classifier.adjusted(found) for part, found in scores.items()}
            readings.setdefault(CALIBRATED, {})[asked] = accuracies(classifier, adjusted, parts)
    return {"stage": stage, "pattern": pattern, "seed": seed, "accuracy": readings}


def accuracies(
    classifier: TextClassifier, scores: dict[str, Tensor], parts: dict[str, list[Example]]
) -> dict[str, float]:
    """The accuracy on each of ``PARTS`` of scores ``(texts, labels)``."""
    hits = {}
    for part, found in scores.items():
        labels = [classifier.labels[number] for number in found.argmax(dim=1).tolist()]
        hits[part] = [label == example.label for label, example in zip(labels, parts[part], strict=True)]
    hits["unseen test"] = list(compress(hits["test"], unseen(parts)))
    return {part: statistics.mean(map(float, hits[part])) for part in PARTS}


def unseen(parts: dict[str, list[Example]]) -> list[bool]:
    """Whether each test text does not stand in train."""
    seen = {example.fields["text"] for example in parts["train"]}
    return [example.fields["text"] not in seen for example in parts["test"]]


def fine_tuned(
    folder: str, seed: int, parts: dict[str, list[Example]], settings: SentimentArguments
) -> HeadClassifier:
    """A new head on the encoder, trained on the labelled texts."""
    classifier = HeadClassifier.from_pretrained(folder, ["1", "0"], max_length=settings.max_length)
    labelled = parts["train"][: settings.labelled]
    train(LabelLoss(classifier), labelled, parts["valid"], settings, settings.few_shot_steps, seed)
    return classifier


def prompted(
    stage: str,
    folder: str,
    patterns: Sequence[str],
    seed: int,
    parts: dict[str, list[Example]],
    settings: SentimentArguments,
) -> dict[str, PetClassifier]:
    """A classifier for each pattern, all around one model, which is trained with the first if at all."""
    words = Verbalizer(json.loads(settings.words))
    first = PetClassifier.from_pretrained(folder, patterns[0], words, max_length=settings.max_length)
    labelled = parts["train"][: settings.labelled]
    unlabelled = [example.without_label() for example in parts["train"]]
    if stage == "masked-lm":
        train(MaskedTextLoss(first, seed=seed), unlabelled, None, settings, settings.masked_lm_steps, seed)
    if stage == "few-shot":
        train(FullVocabularyLoss(first, seed=seed), labelled, parts["valid"], settings, settings.few_shot_steps, seed)
    if stage == "semi-supervised":
        objective = FullVocabularyLoss(first, seed=seed)
        train(objective, labelled, parts["valid"], settings, settings.few_shot_steps, seed, unlabelled)
    return {
        pattern: PetClassifier(first.model, first.tokenizer, pattern, words, settings.max_length)
        for pattern in patterns
    }


def train(
    objective: Objective[Any],
    examples: Sequence[Example],
    dev: Sequence[Example] | None,
    settings: SentimentArguments,
    steps: int,
    seed: int,
    unlabelled: Sequence[Example] = (),
) -> None:
    """Train an objective's classifier; with dev, the best of ten looks at a tenth of it wins."""
    arguments = PetTrainingArguments(
        output_dir=f"{settings.output_dir}/running",
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        unlabelled_per_row=1 if unlabelled else 0,
        learning_rate=settings.learning_rate,
        seed=seed,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = PetTrainer(objective, arguments, examples, dev[:200] if dev else None, unlabelled)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.discard_best()


def read_reviews(folder: Path, part: str) -> Iterator[Example]:
    """Reviews with their labels, "1" good and "0" bad.

    Raises:
        FileNotFoundError: the folder has no such part.
        ValueError: a line is not a text, a tab and a label.
    """
    plain = folder / f"sentiment.{part}.data"
    packed = plain.with_name(plain.name + ".xz")
    if not (plain.is_file() or packed.is_file()):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        raise FileNotFoundError(f"{folder} holds no {plain.name}, nor {packed.name}")
    for number, line in enumerate(read_lines(plain if plain.is_file() else packed), start=1):
        if line.strip():
            text, tab, label = line.rpartition("\t")
            if not tab or label not in ("0", "1"):
                raise ValueError(f"{plain.name}, line {number}: need a text, a tab, and 0 or 1; got {line[-40:]!r}")
            yield Example({"text": text.strip()}, label)


def runs_that_ended(path: Path) -> list[dict[str, Any]]:
    """What ``results.jsonl`` holds."""
    return [run for _, run in read_records(path)] if path.is_file() else []


def as_table(runs: Sequence[dict[str, Any]], settings: SentimentArguments) -> str:
    """Markdown: rows for each stage and part, a column a pattern; mean and deviation over the seeds, in percent."""
    columns = [*settings.patterns, *([NO_PATTERN] if "fine-tuning" in settings.stages else [])]
    lines = ["| stage | part | " + " | ".join(f"`{column}`" for column in columns) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(columns))
    for stage, reading in product(settings.stages, (AS_IT_IS, CALIBRATED)):
        own = [run["accuracy"][reading] for run in runs if run["stage"] == stage and reading in run["accuracy"]]
        title = f"{stage}, calibrated" if reading == CALIBRATED else stage
        for part in PARTS if own else ():
            cells = [mean_and_deviation([100 * run[name][part] for run in own if name in run]) for name in columns]
            lines.append(f"| {title} | {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def mean_and_deviation(values: Sequence[float]) -> str:
    """As tables show them; empty where there are no values."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}" if values else ""


if __name__ == "__main__":
    run_recipe(main)
