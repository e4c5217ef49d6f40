"""Turn public data sets into the files that recipes/techniques.py reads.

    python recipes/technique_data.py tnews $NLPKIT_DATA/clue/tnews10k data/techniques/tnews
    python recipes/technique_data.py iflytek $NLPKIT_DATA/clue/iflytek data/techniques/iflytek
    python recipes/technique_data.py lic2020 $NLPKIT_DATA/longtail-multilabel/lic2020-event data/techniques/lic2020
    python recipes/technique_data.py toutiao $NLPKIT_DATA/longtail-multilabel/toutiao data/techniques/toutiao
    python recipes/technique_data.py stsb $NLPKIT_DATA/similarity-zh/stsb data/techniques/stsb

Each writes train.jsonl, dev.jsonl and test.jsonl; a set that lacks a part has it cut, at random and always alike, off
another one. No text stands in two parts.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nlpkit.files import write_text
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


def _cut(rows: Iterable[Row], dev: int) -> Parts:
    """Shuffle, and take rows for dev off the front."""
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    return {"train": shuffled[dev:], "dev": shuffled[:dev]}


def without_shared_texts(parts: Parts) -> Parts:
    """Leave out of train what stands in dev or test too, and of dev what stands in test."""
    kept: Parts = {}
    seen: set[str] = set()
    for part in ("test", "dev", "train"):
        kept[part] = [row for row in parts[part] if row["text"] not in seen]
        seen |= {row["text"] for row in kept[part]}
    return kept


SETS: dict[str, Callable[[Path], Parts]] = {
    "tnews": tnews,
    "iflytek": iflytek,
    "lic2020": lic2020,
    "toutiao": toutiao,
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
    kept = parts if given.set == "stsb" else without_shared_texts(parts)  # sentences of pairs come again and again
    for part, rows in kept.items():
        path = given.destination / f"{part}.jsonl"
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
