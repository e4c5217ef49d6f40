"""Named entities: heads that score spans or chains of labels, over words, tokens or characters, side by side.

Source: GlobalPointer (kexue.fm/archives/8373), its efficient form (8877); words for entities as in docs/tagging.md.

    python recipes/pfr_entities.py $NLPKIT_DATA/cws/pfr-199801.tagged.utf8.xz data/pfr-entities
    python recipes/entities.py recipes/configs/entities/pfr.yaml

Files are JSON lines of ``text`` and ``spans`` of ``[start, end, type]``, or columns of words and labels (CoNLL). An
arm is a head and a layout, ``global_pointer/words``. Layouts: ``words`` reads the tokenizer's tokens and finds
entities of characters; ``tokens`` finds entities of tokens, so that one that ends inside a token is lost;
``characters`` cuts Chinese into characters first.

Every arm is trained with every seed. Call it again after an interruption: what is finished is kept, and the current
run goes on from its last checkpoint. ``output_dir`` holds results.jsonl, table.md, where matplotlib is installed
scores.svg (score against training time), and for each run the model, which ``nlpkit entities --model`` takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase, TrainingArguments, set_seed

from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.labels import Span, find_inexpressible_spans, without_overlaps
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    method_table,
    parse_recipe_arguments,
    plot_methods,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.tasks.entities import EntityRecognizer, cut_example, read_entities, score_entities
from nlpkit.training import TechniqueTrainer, give_head_its_own_rate

Example = dict[str, Any]
Row = dict[str, Any]
HEADS = ("global_pointer", "efficient_global_pointer", "crf", "softmax")
#: What each layout makes an entity of.
UNITS = {"words": "characters", "tokens": "tokens", "characters": "tokens"}
SCORED = ("dev", "test")


@dataclass
class EntityTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/entities"
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 16
    learning_rate: float = 2e-4
    save_steps: float = 200
    save_total_limit: int | None = 1
    train_sampling_strategy: str = "group_by_length"
    remove_unused_columns: bool = False  # else the lengths go, by which rows are grouped


@dataclass
class EntityArguments:
    """What to train on what."""

    train_file: str = field(metadata={"help": "JSON lines of text and spans, or columns of words and labels"})
    dev_file: str
    test_file: str | None = None
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped name, or Hub repository"})
    arms: list[str] = field(
        default_factory=lambda: [f"{head}/words" for head in HEADS], metadata={"help": "HEAD/LAYOUT, one or more"}
    )
    nested: str = field(
        default="refuse",
        metadata={"help": "entities that overlap, for heads of labels", "choices": ["refuse", "outermost"]},
    )
    overlaps: bool = field(default=True, metadata={"help": "whether what is found may overlap; else the best stays"})
    head_size: int = field(default=64, metadata={"help": "numbers per query and key of heads that score spans"})
    use_characters: bool = field(default=True, metadata={"help": "in words, add each character's own embedding"})
    head_learning_rate: float | None = field(default=None, metadata={"help": "of the head alone"})
    max_length: int | None = field(default=None, metadata={"help": "tokens per text; longer ones are cut in pieces"})
    max_train_texts: int | None = field(default=None, metadata={"help": "train on the first so many texts"})
    max_scored_texts: int | None = field(default=None, metadata={"help": "score the first so many of each part"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one training each, of each arm"})


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([EntityArguments, EntityTrainingArguments], argv)
    for arm in settings.arms:
        parse_arm(arm)
    output = Path(args.output_dir)
    parts = read_parts(settings)
    results: list[Row] = []
    with only_writer(output):
        facts = asdict(settings) | {"arms": [], "seeds": []} | training_facts(args)
        begun = [*output.glob("*/seed-*/checkpoint-*"), *output.glob("*/seed-*/result.json")]
        settle_facts(output / "run.json", facts, begins=not begun)
        for seed in settings.seeds:
            for arm in settings.arms:
                results.append(run(arm, seed, parts, settings, args))
                write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
                write_text(output / "table.md", method_table(results, SCORED, baseline=settings.arms[0]))
    if find_spec("matplotlib") is not None:
        plot_methods(results, "test" if "test" in parts else "dev", output / "scores.svg")
    print((output / "table.md").read_text("utf-8"))
    return results


def parse_arm(arm: str) -> tuple[str, str]:
    """The head and the layout of an arm.

    Raises:
        ValueError: one of them is unknown.

    Example:
        >>> parse_arm("crf/words")
        ('crf', 'words')
    """
    head, _, layout = arm.partition("/")
    if head not in HEADS or layout not in UNITS:
        raise ValueError(f"arms hold {arm!r}; write HEAD/LAYOUT with {', '.join(HEADS)} and {', '.join(UNITS)}")
    return head, layout


def read_parts(settings: EntityArguments) -> dict[str, list[Example]]:
    """The texts of each part with their entities."""
    parts = {"train": read_entities(settings.train_file)[: settings.max_train_texts]}
    parts["dev"] = read_entities(settings.dev_file)[: settings.max_scored_texts]
    if settings.test_file is not None:
        parts["test"] = read_entities(settings.test_file)[: settings.max_scored_texts]
    if not any(example["spans"] for example in parts["train"]):
        raise ValueError(f"{settings.train_file} holds no entity; there is nothing to learn")
    return parts


def read_tokenizer(folder: str, layout: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a layout."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    if layout != "characters":
        return tokenizer
    if type(tokenizer).__name__ != "WoBertTokenizer":
        raise ValueError(
            f"layout 'characters' is of WoBERT's vocabulary, and {folder} has a {type(tokenizer).__name__}: take "
            "'tokens'"
        )
    return BertTokenizer.from_pretrained(folder)


def load(source: str, head: str, layout: str, types: list[str], settings: EntityArguments) -> EntityRecognizer:
    """A new head on an encoder, in full precision; on CPUs plain attention, whose backward pass is faster."""
    return EntityRecognizer.from_pretrained(
        source,
        types=types,
        head=head,  # type: ignore[arg-type]
        units=UNITS[layout],  # type: ignore[arg-type]
        tokenizer=read_tokenizer(source, layout),
        max_length=settings.max_length,
        settings={"head_size": settings.head_size, "use_characters": settings.use_characters},
        dtype=torch.float32,
        attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
    )


def run(
    arm: str, seed: int, parts: dict[str, list[Example]], settings: EntityArguments, args: EntityTrainingArguments
) -> Row:
    """Train an arm with a seed and score it, or read what was finished."""
    head, layout = parse_arm(arm)
    output = Path(args.output_dir) / f"{head}-{layout}" / f"seed-{seed}"
    if (output / "result.json").is_file():
        return read_json(output / "result.json")
    set_seed(seed)
    types = sorted({span.label for example in parts["train"] for span in example["spans"]})
    source = find_model(settings.model)
    recognizer = load(source, head, layout, types, settings)
    result: Row = {
        "method": arm,
        "seed": seed,
        "metric": "F1",
        **train(recognizer, seed, output, parts, settings, args),
    }
    recognizer.save_pretrained(output / "model")
    words = AutoTokenizer.from_pretrained(source)
    for name in (part for part in SCORED if part in parts):
        found, seconds = predict(recognizer, parts[name], settings, args)
        result |= score(name, parts[name], found, words) | {f"{name}_seconds": round(seconds, 2)}
    result["predict_seconds"] = sum(result[f"{name}_seconds"] for name in SCORED if name in parts)
    write_json(output / "result.json", result)
    return result


def train(
    recognizer: EntityRecognizer,
    seed: int,
    output: Path,
    parts: dict[str, list[Example]],
    settings: EntityArguments,
    args: EntityTrainingArguments,
) -> Row:
    """Train from the last checkpoint on; what is known of it."""
    trainer = TechniqueTrainer(
        model=recognizer.model,
        args=replace(args, seed=seed, output_dir=str(output)),
        data_collator=recognizer.collator(nested=settings.nested),  # type: ignore[arg-type]
        train_dataset=training_rows(parts["train"], recognizer),
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    if settings.head_learning_rate is not None:
        give_head_its_own_rate(recognizer.model, trainer.create_optimizer(), settings.head_learning_rate)
    trained = train_from_last_checkpoint(trainer)
    return {
        "steps": trained.steps,
        "train_seconds": round(trained.seconds, 2),
        "trained_parameters": sum(p.numel() for p in recognizer.model.parameters() if p.requires_grad),
    }


def training_rows(part: Sequence[Example], recognizer: EntityRecognizer) -> Dataset:
    """Texts that fit, and their lengths to group them by."""
    pieces = [
        piece
        for example in tqdm(part, desc="cutting", unit="text", leave=False)
        for piece in cut_example(example, recognizer.tokenizer, recognizer.max_length)
    ]
    return Dataset.from_list(
        [
            {"text": piece["text"], "spans": [span._asdict() for span in piece["spans"]], "length": len(piece["text"])}
            for piece in pieces
            if piece["text"].strip()
        ]
    )


def predict(
    recognizer: EntityRecognizer, part: Sequence[Example], settings: EntityArguments, args: EntityTrainingArguments
) -> tuple[list[list[Span]], float]:
    """What is found in a part, and the seconds that took."""
    begin = perf_counter()
    found = recognizer.predict(
        [example["text"] for example in part],
        overlaps=settings.overlaps,
        batch_size=args.per_device_eval_batch_size,
        show_progress=not args.disable_tqdm,
    )
    return [[entity.span for entity in row] for row in found], perf_counter() - begin


def score(name: str, part: Sequence[Example], found: list[list[Span]], words: PreTrainedTokenizerBase) -> Row:
    """F1 of whole entities, that of each type, and how many of two kinds were found.

    ``inside_words`` are the entities that begin or end inside a token, ``nested`` those that overlap another one; of
    both there is only recall.
    """
    gold = [example["spans"] for example in part]
    report = score_entities(gold, found)
    kinds: dict[str, Callable[[Example], list[Span]]] = {
        "inside_words": lambda example: inside_words(example, words),
        "nested": lambda example: nested(example["spans"]),
    }
    row: Row = {
        name: report.micro.f1,
        f"{name}_precision": report.micro.precision,
        f"{name}_recall": report.micro.recall,
        f"{name}_types": {kind: scores.f1 for kind, scores in report.by_type.items()},
    }
    for kind, chosen in kinds.items():
        of_kind = [set(chosen(example)) for example in part]
        total = sum(map(len, of_kind))
        correct = sum(len(some.intersection(spans)) for some, spans in zip(of_kind, found, strict=True))
        row[f"{name}_{kind}"] = {"gold": total, "found": correct}
    return row


def inside_words(example: Example, words: PreTrainedTokenizerBase) -> list[Span]:
    """The entities that entities of tokens cannot be."""
    text = example["text"]
    encoded = words(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return find_inexpressible_spans(example["spans"], without_overlaps(encoded["offset_mapping"]), len(text))


def nested(spans: Sequence[Span]) -> list[Span]:
    """The spans that overlap another one.

    Example:
        >>> nested([Span(0, 4, "ORG"), Span(0, 2, "LOC"), Span(5, 7, "PER")])
        [Span(start=0, end=4, label='ORG'), Span(start=0, end=2, label='LOC')]
    """
    return [
        one
        for one in spans
        if any(other != one and other.start < one.end and one.start < other.end for other in spans)
    ]


if __name__ == "__main__":
    run_recipe(main)
