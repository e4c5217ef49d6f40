"""Turn public data sets into the files that recipes/ladder_finetune.py reads.

    python recipes/ladder_data.py chnsenticorp $NLPKIT_DATA/sentiment-zh/chnsenticorp data/chnsenticorp
    python recipes/ladder_data.py tnews $NLPKIT_DATA/clue/tnews10k data/tnews
    python recipes/ladder_data.py ocnli $NLPKIT_DATA/clue/ocnli data/ocnli
    python recipes/ladder_data.py csl-title $NLPKIT_DATA/seq2seq/csl-title data/csl-title
    python recipes/pfr_entities.py $NLPKIT_DATA/cws/pfr-199801.tagged.utf8.xz data/pfr-entities

Each writes train.jsonl, in one fixed random order, dev.jsonl and, where the set has a public one, test.jsonl.
"""

from __future__ import annotations

import csv
import json
import random
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlpkit.files import write_text
from nlpkit.runs import run_recipe
from nlpkit.text_files import read_lines, read_records

Row = dict[str, Any]


def chnsenticorp(folder: Path, part: str) -> Iterator[Row]:
    """Hotel, book and computer reviews: 1 for praise."""
    for row in csv.DictReader(read_lines(folder / f"{part}.tsv.xz"), delimiter="\t", quoting=csv.QUOTE_NONE):
        yield {"text": row["text_a"], "label": row["label"]}


def tnews(folder: Path, part: str) -> Iterator[Row]:
    """Headlines in 15 classes; train and dev have some wrong labels on purpose, test has not."""
    for _, row in read_records(folder / ("test_public.json.xz" if part == "test" else f"{part}.json.xz")):
        yield {"text": row["sentence"], "label": row["label"]}


def ocnli(folder: Path, part: str) -> Iterator[Row]:
    """Premise and hypothesis in 3 classes; rows without a majority are left out."""
    for _, row in read_records(folder / ("train.10k.json.xz" if part == "train" else "dev.json.xz")):
        if row["label"] != "-":
            yield {"text": row["sentence1"], "text_pair": row["sentence2"], "label": row["label"]}


def csl_title(folder: Path, part: str) -> Iterator[Row]:
    """Abstracts and their titles."""
    for line in read_lines(folder / f"{part}.tsv.xz"):
        text, _, target = line.partition("\t")
        yield {"text": text, "target": target}


SETS = {"chnsenticorp": chnsenticorp, "tnews": tnews, "ocnli": ocnli, "csl-title": csl_title}
WITHOUT_TEST = ("ocnli", "csl-title")


def main(argv: list[str]) -> None:
    """Write the files of a data set."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("source", type=Path, help="the set's folder, see docs/data.md")
    parser.add_argument("destination", type=Path, help="folder to write")
    given = parser.parse_args(argv)
    for part in ("train", "dev") if given.set in WITHOUT_TEST else ("train", "dev", "test"):
        rows = list(SETS[given.set](given.source, part))
        if part == "train":
            random.Random(0).shuffle(rows)
        path = given.destination / f"{part}.jsonl"
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    run_recipe(main)
