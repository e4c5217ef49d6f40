"""Named entities with a model of words: every character is tagged, or every token, for comparison.

Source: WoBERT (kexue.fm/archives/7758) loses 3 points of F1 in named-entity recognition. A token that straddles the
border of an entity cannot be labelled; a character that knows its word can (docs/tagging.md).

    python recipes/pfr_entities.py pfr-199801.tagged.utf8.xz data/pfr-entities
    python recipes/character_tagging.py recipes/configs/character_tagging/words.yaml --seeds 0 1 2 3 4

The files hold one JSON object per line: ``text``, and ``spans`` of ``[start, end, type]`` or ``labels`` (BIO, one per
character). Call it again after an interruption: finished seeds are kept, and the current one goes on from its last
checkpoint. ``output_dir/results.json`` holds every run, the mean and the deviation.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm
from transformers import DataCollatorForTokenClassification, PreTrainedModel, TrainingArguments, set_seed

from nlpkit.files import read_json, write_json
from nlpkit.labels import (
    AlignmentLoss,
    Span,
    align_labels,
    bio_to_spans,
    close_gaps,
    decode_bio,
    find_inexpressible_spans,
    map_characters,
    score_spans,
    spread_labels,
)
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    last_complete_checkpoint,
    parse_recipe_arguments,
    settle_facts,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.text_files import read_records
from nlpkit.training import TechniqueTrainer
from nlpkit.wobert import (
    CharacterTaggingCollator,
    WoBertForCharacterClassification,
    WoBertForTokenClassification,
    WoBertTokenizer,
    split_long_example,
)

Example = dict[str, Any]
Parts = dict[str, list[Example]]


@dataclass
class TaggingTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/character_tagging"
    num_train_epochs: float = 2.0
    per_device_train_batch_size: int = 32
    learning_rate: float = 2e-4
    save_steps: float = 200
    save_total_limit: int | None = 1
    train_sampling_strategy: str = "group_by_length"
    remove_unused_columns: bool = False  # else the lengths go, by which rows are grouped


@dataclass
class TaggingArguments:
    """What to tag with what."""

    train_file: str = field(metadata={"help": "JSON lines with text and spans, or text and labels"})
    dev_file: str
    test_file: str
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped name, or Hub repository"})
    classify: str = field(
        default="characters", metadata={"help": "what gets a label", "choices": ["characters", "tokens"]}
    )
    read: str = field(
        default="words", metadata={"help": "what the model's tokens are", "choices": ["words", "characters"]}
    )
    use_characters: bool = field(default=True, metadata={"help": "add the embedding of each character by itself"})
    place_reach: int = field(default=4, metadata={"help": "how far characters of a word are told apart"})
    max_length: int = field(default=512, metadata={"help": "tokens a text may have; longer ones are cut in pieces"})
    max_train_texts: int | None = field(default=None, metadata={"help": "train on the first so many texts"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one run each"})


class CharacterSegmenter:
    """Cuts Chinese text into characters, so that a word tokenizer gives what BERT's own would."""

    name = "characters"

    def cut(self, text: str) -> list[str]:
        """Each Chinese character by itself, and what stands between two of them."""
        return re.findall("[\u3400-\u9fff]|[^\u3400-\u9fff]+", text)


def main(argv: list[str]) -> dict[str, Any]:
    """Run the recipe and return what ``results.json`` holds."""
    settings, args = parse_recipe_arguments([TaggingArguments, TaggingTrainingArguments], argv)
    facts = asdict(settings) | {"seeds": []} | training_facts(args)
    settle_facts(Path(args.output_dir) / "run.json", facts, begins=not any(Path(args.output_dir).glob("seed-*")))
    folder = find_model(settings.model)
    segmenter: dict[str, Any] = {"segmenter": CharacterSegmenter()} if settings.read == "characters" else {}
    tokenizer = WoBertTokenizer.from_pretrained(folder, **segmenter)
    parts = {
        name: read_part(getattr(settings, f"{name}_file"), tokenizer, settings.max_length)
        for name in ("train", "dev", "test")
    }
    parts["train"] = parts["train"][: settings.max_train_texts]
    for name in ("dev", "test"):
        parts[name].sort(key=lambda example: len(example["text"]))  # batches then hold little padding
    alignment = {name: measure_alignment(part, tokenizer) for name, part in parts.items()}
    runs = [run_seed(seed, folder, tokenizer, parts, settings, args) for seed in settings.seeds]
    results = {
        "settings": vars(settings),
        "tokens_per_character": {name: loss["tokens"] / loss["characters"] for name, loss in alignment.items()},
        "token_labels": alignment,
        "runs": runs,
        **{
            part: summarise("f1", [run[part]["all"]["f1"] for run in runs])
            | summarise("recall_inside_words", [run[part]["inside_words"]["recall"] for run in runs])
            for part in ("dev", "test")
        },
    }
    if args.process_index == 0:
        write_json(Path(args.output_dir) / "results.json", results)
    return results


def read_part(path: str, tokenizer: WoBertTokenizer, max_length: int) -> list[Example]:
    """Read a file of JSON lines; texts that are too long come in pieces."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path!r}; recipes/pfr_entities.py makes one from the PFR corpus")
    pieces: list[Example] = []
    for number, example in read_records(path):
        try:
            pieces += split_long_example(example, tokenizer, max_length)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    unlabelled = next((piece["text"] for piece in pieces if "labels" not in piece), None)
    if unlabelled is not None or not pieces:
        raise ValueError(f"{path} has no labels for {unlabelled!r}; give 'spans' or 'labels' with every text")
    return pieces


def measure_alignment(part: list[Example], tokenizer: WoBertTokenizer) -> dict[str, float]:
    """Count what a labelling of tokens could not express, without any model."""
    total, tokens = AlignmentLoss(), 0
    for example in tqdm(part, desc="aligning", unit="text", leave=False):
        offsets = tokenizer(example["text"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        total += align_labels(example["labels"], offsets)[1]
        tokens += len(offsets)
    return vars(total) | {"oracle_f1": total.oracle_f1, "tokens": tokens}


class Task(NamedTuple):
    """What a run trains, on what, and how classes become labels of characters."""

    model: PreTrainedModel
    collator: Callable[[list[Any]], Any]
    datasets: dict[str, Dataset]
    to_labels: Callable[[Sequence[int], str], list[str]]


def tag_characters(folder: str, tokenizer: WoBertTokenizer, parts: Parts, settings: TaggingArguments) -> Task:
    """Every character gets a label."""
    names, labels = label_names(parts["train"])
    model = WoBertForCharacterClassification.from_pretrained(
        folder,
        use_characters=settings.use_characters,
        place_reach=settings.place_reach,
        **loading_options(),
        **labels,
    )
    collator = CharacterTaggingCollator(tokenizer, labels["label2id"], max_length=settings.max_length)

    def to_labels(row: Sequence[int], text: str) -> list[str]:
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return close_gaps([names[number] for number in row[: len(text)]], map_characters(offsets, len(text)))

    return Task(model, collator, {name: character_dataset(part) for name, part in parts.items()}, to_labels)


def tag_tokens(folder: str, tokenizer: WoBertTokenizer, parts: Parts, settings: TaggingArguments) -> Task:
    """Every token gets a label, and its characters share it."""
    names, labels = label_names(parts["train"])
    model = WoBertForTokenClassification.from_pretrained(folder, **loading_options(), **labels)
    datasets = {name: token_dataset(part, tokenizer, labels["label2id"]) for name, part in parts.items()}

    def to_labels(row: Sequence[int], text: str) -> list[str]:
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        tokens = [
            names[number] if start < end else None
            for (start, end), number in zip(offsets, row[: len(offsets)], strict=True)
        ]
        return spread_labels(tokens, offsets, len(text))

    return Task(model, DataCollatorForTokenClassification(tokenizer), datasets, to_labels)


def loading_options() -> dict[str, Any]:
    """Full precision to train in, whatever was saved; on CPUs plain attention, whose backward pass is faster."""
    return {"dtype": torch.float32, "attn_implementation": "sdpa" if torch.cuda.is_available() else "eager"}


def label_names(part: list[Example]) -> tuple[list[str], dict[str, Any]]:
    """The BIO labels of all types in a part, and the same as a model's configuration holds them."""
    types = sorted({span.label for example in part for span in bio_to_spans(example["labels"])})
    names = ["O", *[f"{prefix}-{name}" for name in types for prefix in "BI"]]
    return names, {"label2id": {name: number for number, name in enumerate(names)}, "id2label": dict(enumerate(names))}


def run_seed(
    seed: int,
    folder: str,
    tokenizer: WoBertTokenizer,
    parts: Parts,
    settings: TaggingArguments,
    args: TaggingTrainingArguments,
) -> dict[str, Any]:
    """Train and score one run, or read the scores of one that had finished."""
    output = Path(args.output_dir) / f"seed-{seed}"
    if (output / "result.json").is_file():
        return dict(read_json(output / "result.json"))
    set_seed(seed)
    task = (tag_characters if settings.classify == "characters" else tag_tokens)(folder, tokenizer, parts, settings)
    trainer = TechniqueTrainer(
        model=task.model,
        args=replace(args, seed=seed, output_dir=str(output)),
        data_collator=task.collator,
        train_dataset=task.datasets["train"],
        eval_dataset=task.datasets["dev"],
        processing_class=tokenizer,
        preprocess_logits_for_metrics=partial(best_labels, names=label_names(parts["train"])[0]),
        callbacks=[MetricsLog(output / "metrics.jsonl")],
    )
    checkpoint = last_complete_checkpoint(output)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_model(str(output / "model"))
    words = WoBertTokenizer.from_pretrained(folder)
    trainer.args.train_sampling_strategy = "sequential"  # or predictions would come grouped by length, too
    result: dict[str, Any] = {"seed": seed, "steps": trainer.state.global_step}
    for part in ("dev", "test"):
        rows = np.asarray(trainer.predict(task.datasets[part]).predictions)  # (texts, characters or tokens)
        result[part] = score(rows, parts[part], task.to_labels, words)
    if trainer.is_world_process_zero():
        write_json(output / "result.json", result)
    return result


def character_dataset(part: list[Example]) -> Dataset:
    """Texts with one label per character, and their lengths to group them by."""
    return Dataset.from_list([{**example, "length": len(example["text"])} for example in part])


def token_dataset(part: list[Example], tokenizer: WoBertTokenizer, label2id: dict[str, int]) -> Dataset:
    """Token ids with one label per token."""
    rows = []
    for example in part:
        encoded = tokenizer(example["text"], return_offsets_mapping=True, return_token_type_ids=False)
        labels, _ = align_labels(example["labels"], encoded.pop("offset_mapping"))
        ids = [-100 if label is None else label2id[label] for label in labels]
        rows.append({**encoded, "labels": ids, "length": len(ids)})
    return Dataset.from_list(rows)


def best_labels(logits: Tensor, labels: Tensor, names: list[str]) -> Tensor:
    """The best labelling of each text; scores of a whole part need not fit in memory."""
    return decode_bio(logits, labels != -100, names)  # labels are -100 where there is nothing to label


def score(
    rows: np.ndarray,
    part: Sequence[dict[str, Any]],
    to_labels: Callable[[Sequence[int], str], list[str]],
    words: WoBertTokenizer,
) -> dict[str, dict[str, float]]:
    """Exact-match scores of predicted classes, for all types together and for each.

    ``inside_words`` counts the entities that begin or end inside a token of ``words``; of those there is only recall.
    """
    gold = [bio_to_spans(example["labels"]) for example in part]
    found = [bio_to_spans(to_labels(row.tolist(), example["text"])) for row, example in zip(rows, part, strict=True)]
    scores = {
        name: vars(scores) | {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
        for name, scores in score_spans(gold, found).items()
    }
    inside = [spans_inside_words(spans, example["text"], words) for spans, example in zip(gold, part, strict=True)]
    total = sum(map(len, inside))
    correct = sum(len(some.intersection(spans)) for some, spans in zip(inside, found, strict=True))
    return scores | {"inside_words": {"gold": total, "correct": correct, "recall": correct / total if total else 0.0}}


def spans_inside_words(spans: list[Span], text: str, words: WoBertTokenizer) -> set[Span]:
    """The spans that labels of word tokens cannot express."""
    offsets = words(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return set(find_inexpressible_spans(spans, offsets, len(text)))


def summarise(name: str, values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation; the deviation of one run is 0."""
    return {
        f"{name}_mean": statistics.mean(values),
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
