"""Pairs that recipes/mt5_pretrain.py may learn beside raw text: titles, and classical Chinese in modern words.

    python recipes/mt5_pretrain_data.py $NLPKIT_DATA/seq2seq data/mt5_pretrain

Writes ``csl.jsonl`` and ``lcsts.jsonl`` (a text and its title) and ``modern.jsonl``, rows of ``source`` and
``target``, of the training parts alone, without rows whose source or target stands in another part that is there.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from nlpkit.data import Pair, read_pairs
from nlpkit.files import write_text
from nlpkit.runs import run_recipe

#: By the name of what is written: the folder of the set, and its columns.
SETS = {
    "csl": ("csl-title", ("source", "target")),
    "lcsts": ("lcsts", ("target", "source")),
    "modern": ("classical-modern", ("source", "target")),
}


def training_pairs(folder: Path, columns: tuple[str, str]) -> list[Pair]:
    """The pairs of a set's training part that share neither source nor target with its other parts."""
    parts = {path.name.partition(".")[0]: read_pairs(path, columns) for path in sorted(folder.glob("*.tsv*"))}
    if "train" not in parts:
        raise FileNotFoundError(f"there is no {folder}/train.tsv, .tsv.gz or .tsv.xz; see docs/data.md")
    others = {text for part, pairs in parts.items() if part != "train" for pair in pairs for text in pair.values()}
    return [pair for pair in parts["train"] if others.isdisjoint(pair.values())]


def main(argv: list[str]) -> None:
    """Write the three files."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the public sets")
    parser.add_argument("output", type=Path)
    options = parser.parse_args(argv)
    for name, (folder, columns) in SETS.items():
        pairs = training_pairs(options.folder / folder, columns)
        lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
        write_text(options.output / f"{name}.jsonl", lines)
        print(f"{name}: {len(pairs)} pairs")


if __name__ == "__main__":
    run_recipe(main)
