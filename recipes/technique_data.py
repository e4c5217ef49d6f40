"""Turn public data sets into the files that recipes/techniques.py and recipes/long_tail.py read.

    python recipes/technique_data.py tnews $NLPKIT_DATA/clue/tnews10k data/techniques/tnews
    python recipes/technique_data.py iflytek $NLPKIT_DATA/clue/iflytek data/techniques/iflytek
    python recipes/technique_data.py lic2020 $NLPKIT_DATA/longtail-multilabel/lic2020-event data/techniques/lic2020
    python recipes/technique_data.py toutiao $NLPKIT_DATA/longtail-multilabel/toutiao data/techniques/toutiao
    python recipes/technique_data.py reuters $NLPKIT_DATA/longtail-multilabel/reuters-r52 data/techniques/reuters
    python recipes/technique_data.py csl $NLPKIT_DATA/longtail-multilabel/csl-category data/techniques/csl
    python recipes/technique_data.py thucnews $NLPKIT_DATA/longtail-multilabel/thucnews-titles data/techniques/thucnews
    python recipes/technique_data.py goemotions $NLPKIT_DATA/longtail-multilabel/goemotions data/techniques/goemotions
    python recipes/technique_data.py stsb $NLPKIT_DATA/similarity-zh/stsb data/techniques/stsb

Each writes train.jsonl, dev.jsonl and test.jsonl; a set that lacks a part has it cut, at random and always alike, off
another one. No text stands in two parts.
"""

from __future__ import annotations

import csv
import json
import random
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from nlpkit.files import write_text
from nlpkit.runs import run_recipe
from nlpkit.text_files import read_lines, read_records

Row = dict[str, Any]
Parts = dict[str, list[Row]]


def tnews(folder: Path) -> Parts:
    """Headlines in 15 classes; train and dev have some wrong labels on purpose, test has not."""
    files = {"train": "train.json.xz", "dev": "dev.json.xz", "test": "test_public.json.xz"}
    return {part: _sentences(folder / file) for part, file in files.items()}


def iflytek(folder: Path) -> Parts:
    """Descriptions of apps in 119 classes; of the 2,000 that are kept for training 400 become dev."""
    rows = _sentences(folder / "dev.json.xz")
    return _cut(rows, dev=400) | {"test": _sentences(folder / "test_public.json.xz")}


def lic2020(folder: Path) -> Parts:
    """Sentences with any number of 65 kinds of event; 1,200 become dev."""
    return _cut(_events(folder / "train.csv.xz"), dev=1200) | {"test": _events(folder / "test.csv.xz")}


def toutiao(folder: Path) -> Parts:
    """Headlines in 15 classes as rare as they are: 10,000 to train on, 5,000 for dev, the rest for test."""
    lines = [line.rpartition("_!_") for line in read_lines(folder / "part.txt.xz") if line]
    rows = [{"text": text, "label": label} for text, _, label in lines]
    parts = _cut(rows, dev=5000)
    return {"train": parts["train"][:10000], "dev": parts["dev"], "test": parts["train"][10000:]}


def reuters(folder: Path) -> Parts:
    """English news in 52 classes, from 2,560 rows down to one; a tenth of each class, rounded down, becomes dev."""
    parts = {part: _fields(folder / f"{part}.txt.xz", "|||", text=1, label=0) for part in ("train", "test")}
    return _cut_classes(parts["train"], lambda rows: rows // 10) | {"test": parts["test"]}


def csl(folder: Path) -> Parts:
    """Titles of papers in 13 fields, from 3,536 rows down to 67; of train 1,500 rows become test."""
    parts = {part: _fields(folder / f"{part}.tsv.xz", "\t", text=1, label=2) for part in ("train", "dev")}
    cut = _cut(parts["train"], dev=1500)
    return {"train": cut["train"], "dev": parts["dev"], "test": cut["dev"]}


def thucnews(folder: Path) -> Parts:
    """Titles in 10 classes that are all as frequent, so that a long tail is cut to train on: 800 rows down to 8.

    Classes shrink by one factor from each to the next (arXiv 1901.05555, section 5.1). Dev has 200 rows of each, test
    1,000: what is learnt of rare classes decides over plain accuracy, too.
    """
    names = [line for line in read_lines(folder / "class.txt") if line]
    parts = {part: _fields(folder / f"{part}.txt.xz", "\t", text=0, label=1, names=names) for part in ("dev", "test")}
    parts |= _cut_classes(parts["dev"], lambda rows: 200)
    wanted = {name: round(800 * 100 ** (-place / (len(names) - 1))) for place, name in enumerate(sorted(names))}
    by_class = _by_class(parts["train"])
    return parts | {"train": [row for name, rows in by_class.items() for row in rows[: wanted[name]]]}


def goemotions(folder: Path) -> Parts:
    """English comments with any of 28 feelings, from 14,219 rows down to 77."""
    names = [line for line in read_lines(folder / "labels.txt") if line]
    return {part: _feelings(folder / f"{part}.tsv.xz", names) for part in ("train", "dev", "test")}


def stsb(folder: Path) -> Parts:
    """Pairs of sentences with a likeness from 0 to 5."""
    return {part: _scored_pairs(folder / f"{part}.tsv.xz") for part in ("train", "dev", "test")}


def _sentences(path: Path) -> list[Row]:
    return [{"text": row["sentence"], "label": row["label"]} for _, row in read_records(path)]


def _events(path: Path) -> list[Row]:
    rows = csv.DictReader(read_lines(path))
    return [{"text": row["content"], "labels": row["label"].split("|")} for row in rows]


def _scored_pairs(path: Path) -> list[Row]:
    pairs = [line.split("\t") for line in read_lines(path) if line]
    return [{"text": one, "text_pair": other, "score": float(score)} for one, other, score in pairs]


def _fields(path: Path, separator: str, text: int, label: int, names: Sequence[str] = ()) -> list[Row]:
    """Lines of fields, of which the one is the text and the other the class, or the place of its name."""
    lines = [line.split(separator) for line in read_lines(path) if line]
    return [{"text": line[text], "label": names[int(line[label])] if names else line[label]} for line in lines]


def _feelings(path: Path, names: Sequence[str]) -> list[Row]:
    lines = [line.split("\t") for line in read_lines(path) if line]
    return [{"text": text, "labels": [names[int(number)] for number in found.split(",")]} for text, found, _ in lines]


def _cut(rows: Iterable[Row], dev: int) -> Parts:
    """Shuffle, and take rows for dev off the front."""
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    return {"train": shuffled[dev:], "dev": shuffled[:dev]}


def _by_class(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Shuffled rows of each class, classes in the order of their names."""
    shuffled, by_class = list(rows), dict[str, list[Row]]()
    random.Random(0).shuffle(shuffled)
    for row in sorted(shuffled, key=lambda row: str(row["label"])):
        by_class.setdefault(row["label"], []).append(row)
    return by_class


def _cut_classes(rows: Iterable[Row], dev: Callable[[int], int]) -> Parts:
    """Take rows of each class for dev, so many of so many; a class of few rows may stay whole."""
    parts: Parts = {"train": [], "dev": []}
    for found in _by_class(rows).values():
        taken = dev(len(found))
        parts["dev"] += found[:taken]
        parts["train"] += found[taken:]
    return parts


def without_shared_texts(parts: Parts) -> Parts:
    """Leave out of train what stands in dev or test too, and of dev what stands in test."""
    kept: Parts = {}
    seen: set[str] = set()
    for part in ("test", "dev", "train"):
        kept[part] = [row for row in parts[part] if seen.isdisjoint(_texts(row))]
        seen.update(text for row in kept[part] for text in _texts(row))
    return kept


def _texts(row: Row) -> list[str]:
    return [row[name] for name in ("text", "text_pair") if name in row]


SETS: dict[str, Callable[[Path], Parts]] = {
    "tnews": tnews,
    "iflytek": iflytek,
    "lic2020": lic2020,
    "toutiao": toutiao,
    "reuters": reuters,
    "csl": csl,
    "thucnews": thucnews,
    "goemotions": goemotions,
    "stsb": stsb,
}


def main(argv: list[str]) -> None:
    """Write the files of a data set."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("source", type=Path, help="the set's folder, see docs/data.md")
    parser.add_argument("destination", type=Path, help="folder to write")
    given = parser.parse_args(argv)
    parts = SETS[given.set](given.source)
    for part, rows in without_shared_texts(parts).items():
        path = given.destination / f"{part}.jsonl"
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    run_recipe(main)
