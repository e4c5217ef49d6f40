"""The tasks of recipes/ladder_finetune.py, and files for it from public data sets.

    python recipes/ladder_tasks.py chnsenticorp SHARED/sentiment-zh/chnsenticorp data/chnsenticorp
    python recipes/ladder_tasks.py tnews SHARED/clue/tnews10k data/tnews
    python recipes/ladder_tasks.py ocnli SHARED/clue/ocnli data/ocnli
    python recipes/pfr_entities.py SHARED/cws/pfr-199801.tagged.utf8.xz data/pfr-entities
    python recipes/ladder_tasks.py csl-title SHARED/seq2seq/csl-title data/csl-title

Each writes train.jsonl, shuffled once and for all, dev.jsonl and, where the set has a public one, test.jsonl.
"""

from __future__ import annotations

import csv
import json
import lzma
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
)

from nlpkit.labels import align_labels, bio_to_spans, decode_bio, score_spans, spread_labels
from nlpkit.wobert.tagging.collator import character_labels
from recipes.ladder_report import SCORED

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What the recipe needs of a task.

    Attributes:
        make_model: a fresh model with a head for it, drawn from the current seed.
        parts: tokenized rows of ``train``, ``dev`` and, if there is a file for it, ``test``; if a method distills also
            ``text``, all rows of the training file, without labels unless the model reads those.
        collate: makes a batch.
        reduce_logits: what of the logits is kept for scoring; ``None``: all.
        metric: its name.
        score: of the predictions for a part, from 0 to 1.
    """

    make_model: Callable[[], Any]
    parts: dict[str, list[Row]]
    collate: Callable[[list[Any]], dict[str, Any]]
    reduce_logits: Callable[[Any, Any], Any] | None
    metric: str
    score: Callable[[str, Any], float]


def classification(settings: Any, tokenizer: Any) -> Task:
    """Texts, or pairs of texts, with a class each; scored by accuracy."""
    raw = read_parts(settings, ("text", "label"))
    names = sorted({str(row["label"]) for row in raw["train"]})
    numbers = {name: number for number, name in enumerate(names)}

    def encode(row: Row) -> Row:
        pair = [row["text_pair"]] if "text_pair" in row else []
        encoded = dict(tokenizer(row["text"], *pair, truncation=True, max_length=settings.max_length))
        return {**encoded, "labels": numbers[str(row["label"])]} if "label" in row else encoded

    parts = {name: [encode(row) for row in rows] for name, rows in raw.items()}
    gold = {name: np.array([row["labels"] for row in parts[name]]) for name in parts.keys() & {"dev", "test"}}
    labels = {"label2id": numbers, "id2label": dict(enumerate(names))}
    return Task(
        lambda: AutoModelForSequenceClassification.from_pretrained(settings.model, dtype=torch.float32, **labels),
        parts,
        DataCollatorWithPadding(tokenizer),
        best_class,
        "accuracy",
        lambda part, predicted: float((np.asarray(predicted) == gold[part]).mean()),
    )


def tagging(settings: Any, tokenizer: Any) -> Task:
    """Texts with spans; every token is tagged, and spans are scored by F1."""
    raw = read_parts(settings, ("text", "spans"))
    types = sorted({span[2] for row in raw["train"] for span in row["spans"]})
    names = ["O", *[f"{prefix}-{name}" for name in types for prefix in "BI"]]
    numbers = {name: number for number, name in enumerate(names)}

    def encode(row: Row) -> Row:
        encoded = dict(
            tokenizer(row["text"], truncation=True, max_length=settings.max_length, return_offsets_mapping=True)
        )
        offsets = without_overlaps(encoded.pop("offset_mapping"))
        if "spans" not in row:
            return encoded
        labels, _ = align_labels(character_labels(row) or [], offsets)
        return {**encoded, "labels": [-100 if label is None else numbers[label] for label in labels]}

    def f1(part: str, predicted: Any) -> float:
        gold, found = [], []
        for row, classes in zip(raw[part], np.asarray(predicted), strict=True):
            encoded = tokenizer(
                row["text"], truncation=True, max_length=settings.max_length, return_offsets_mapping=True
            )
            offsets = without_overlaps(encoded["offset_mapping"])
            tags = [
                names[number] if start < end else None
                for (start, end), number in zip(offsets, classes[: len(offsets)], strict=True)
            ]
            found.append(bio_to_spans(spread_labels(tags, offsets, len(row["text"]))))
            gold.append(bio_to_spans(character_labels(row) or []))
        return score_spans(gold, found)["all"].f1

    labels = {"label2id": numbers, "id2label": dict(enumerate(names))}
    return Task(
        lambda: AutoModelForTokenClassification.from_pretrained(settings.model, dtype=torch.float32, **labels),
        {name: [encode(row) for row in rows] for name, rows in raw.items()},
        DataCollatorForTokenClassification(tokenizer),
        lambda logits, labels: decode_bio(logits, labels != -100, names),
        "span F1",
        f1,
    )


def seq2seq(settings: Any, tokenizer: Any) -> Task:
    """Texts with a target each; scored by the longest common subsequence of characters (ROUGE-L's F)."""
    raw = read_parts(settings, ("text", "target"))

    def encode(row: Row) -> Row:
        encoded = dict(
            tokenizer(row["text"], truncation=True, max_length=settings.max_length, return_token_type_ids=False)
        )
        target = tokenizer(text_target=row["target"], truncation=True, max_length=settings.max_target_length)
        return {**encoded, "labels": target["input_ids"]}

    def rouge(part: str, predicted: Any) -> float:
        ids = np.asarray(predicted)
        texts = tokenizer.batch_decode(np.where(ids < 0, tokenizer.pad_token_id, ids), skip_special_tokens=True)
        pairs = zip(texts, (row["target"] for row in raw[part]), strict=True)
        return float(np.mean([rouge_l(found, wanted) for found, wanted in pairs]))

    return Task(
        lambda: AutoModelForSeq2SeqLM.from_pretrained(settings.model, dtype=torch.float32),
        {name: [encode(row) for row in rows] for name, rows in raw.items()},
        DataCollatorForSeq2Seq(tokenizer),
        None,
        "ROUGE-L",
        rouge,
    )


def without_overlaps(offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Let each character belong to the last token that covers it.

    SentencePiece's mark of a word's beginning, where it is a token by itself, covers the character behind it, too.

    Example:
        >>> without_overlaps([(0, 0), (0, 1), (0, 1), (1, 3), (0, 0)])
        [(0, 0), (0, 0), (0, 1), (1, 3), (0, 0)]
    """
    parted = list(offsets)
    following: int | None = None
    for number in reversed(range(len(parted))):
        start, end = parted[number]
        if start < end:
            parted[number] = (start, end if following is None else min(end, following))
            following = start
    return parted


def best_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Keep the best class only, so that scores of a whole part fit in memory."""
    return logits.argmax(dim=-1)


def rouge_l(found: str, wanted: str) -> float:
    """F score of the longest common subsequence of two texts' characters, without white space.

    Example:
        >>> round(rouge_l("今天天气", "今日天气"), 2)
        0.75
    """
    found, wanted = "".join(found.split()), "".join(wanted.split())
    lengths = [0] * (len(wanted) + 1)
    for character in found:
        diagonal = 0
        for place, other in enumerate(wanted, start=1):
            diagonal, lengths[place] = (
                lengths[place],
                diagonal + 1 if character == other else max(lengths[place], lengths[place - 1]),
            )
    return 2 * lengths[-1] / max(1, len(found) + len(wanted))


def read_parts(settings: Any, columns: Sequence[str]) -> dict[str, list[Row]]:
    """Read the files, and check every row."""
    wanted = {
        "train": (settings.train_file, settings.max_train_rows),
        "dev": (settings.dev_file, settings.max_dev_rows),
    }
    if settings.test_file is not None:
        wanted["test"] = (settings.test_file, None)
    if any(method.startswith("ladder-distill") for method in settings.methods):
        wanted["text"] = (settings.train_file, None)
    parts = {}
    for name, (file, limit) in wanted.items():
        path = Path(file)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {str(path)!r}; recipes/ladder_tasks.py writes some")
        lines = [line for line in path.read_text("utf-8").split("\n") if line.strip()][:limit]
        parts[name] = [json.loads(line) for line in lines]
        for number, row in enumerate(parts[name], start=1):
            missing = [column for column in columns if column not in row]
            if missing:
                raise ValueError(f"{path}, line {number} has no {missing[0]!r}; {settings.task} needs {columns}")
        if not parts[name]:
            raise ValueError(f"{path} holds no rows")
        if name in SCORED:  # batches of like lengths pad little
            parts[name].sort(key=lambda row: len(row["text"]) + len(row.get("text_pair", "")))
    for row in parts.get("text", []):
        row.pop("label", None)
        row.pop("spans", None)
    return parts


def chnsenticorp(folder: Path, part: str) -> Iterator[Row]:
    """Hotel, book and computer reviews: 1 for praise."""
    with lzma.open(folder / f"{part}.tsv.xz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {"text": row["text_a"], "label": row["label"]}


def tnews(folder: Path, part: str) -> Iterator[Row]:
    """Headlines in 15 classes; train and dev have some wrong labels put in on purpose, test has not."""
    for row in json_lines(folder / ("test_public.json.xz" if part == "test" else f"{part}.json.xz")):
        yield {"text": row["sentence"], "label": row["label"]}


def ocnli(folder: Path, part: str) -> Iterator[Row]:
    """Premise and hypothesis in 3 classes; rows without a majority are left out."""
    for row in json_lines(folder / ("train.10k.json.xz" if part == "train" else "dev.json.xz")):
        if row["label"] != "-":
            yield {"text": row["sentence1"], "text_pair": row["sentence2"], "label": row["label"]}


def csl_title(folder: Path, part: str) -> Iterator[Row]:
    """Abstracts and their titles."""
    with lzma.open(folder / f"{part}.tsv.xz", "rt", encoding="utf-8") as file:
        for line in file:
            text, _, target = line.rstrip("\n").partition("\t")
            yield {"text": text, "target": target}


def json_lines(path: Path) -> Iterator[Row]:
    """Rows of a compressed file, split at line feeds only."""
    with lzma.open(path, "rb") as file:
        for line in file:
            yield json.loads(line)


SETS = {"chnsenticorp": chnsenticorp, "tnews": tnews, "ocnli": ocnli, "csl-title": csl_title}
WITHOUT_TEST = ("ocnli", "csl-title")


def main(argv: list[str]) -> None:
    """Write the files of a data set."""
    if len(argv) != 3 or argv[0] not in SETS:
        raise SystemExit(f"usage: python recipes/ladder_tasks.py {'|'.join(SETS)} SOURCE_FOLDER DESTINATION_FOLDER")
    source, destination = Path(argv[1]), Path(argv[2])
    destination.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev") if argv[0] in WITHOUT_TEST else ("train", "dev", "test"):
        rows = list(SETS[argv[0]](source, part))
        if part == "train":
            random.Random(0).shuffle(rows)
        draft = destination / f"{part}.tmp"
        draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        draft.replace(destination / f"{part}.jsonl")
        print(f"{destination / part}.jsonl: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
