"""Characters a second of a batch call: WoBertTokenizer against transformers' own tokenizers, side by side.

    python benchmarks/wobert_tokenizer.py                      # writes benchmarks/results/wobert_tokenizer.json

All tokenizers get the same lines in the same process, in turns (A B C A B C ...); the figures are medians and their
ratios. Needs the public data and vocabularies beside the checkout (NLPKIT_DATA, NLPKIT_MODELS).
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import os
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from machine import measured_on
from rich.console import Console
from rich.table import Table
from transformers import BertTokenizer, RoFormerTokenizer

from nlpkit import WoBertTokenizer

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NLPKIT_DATA") or ROOT.parent / "shared" / "data")
MODELS = Path(os.environ.get("NLPKIT_MODELS") or ROOT.parent / "shared" / "models")
PARTS = ("reviews", "news", "web", "reading", "science", "literature", "history", "tech")


def read_lines(count: int) -> list[str]:
    """The first lines of each part of the corpus, together ``count``."""
    lines: list[str] = []
    for part in PARTS:
        with lzma.open(DATA / "corpus-zh" / f"{part}.txt.xz", "rt", encoding="utf-8", newline="\n") as file:
            lines += [line.removesuffix("\n") for line in islice(file, count // len(PARTS))]
    return lines


def roformer(vocabulary: Path) -> Any:
    """RoFormer's tokenizer in the state in which it makes words: saved and loaded once."""
    with tempfile.TemporaryDirectory() as folder:
        RoFormerTokenizer(vocab=str(vocabulary)).save_pretrained(folder)
        return RoFormerTokenizer.from_pretrained(folder)


def calls(lines: list[str], vocabulary: Path) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    ours, bert, words = WoBertTokenizer(vocabulary), BertTokenizer(vocab=str(vocabulary)), roformer(vocabulary)

    def with_threads(parallel: bool, tokenizer: Any) -> Any:
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if parallel else "false"
        return tokenizer(lines, return_offsets_mapping=True, verbose=False)

    splitter = ours._splitter
    return {
        "WoBertTokenizer": lambda: ours(lines, return_offsets_mapping=True, verbose=False),
        "BertTokenizer, its default threads": lambda: with_threads(True, bert),
        "BertTokenizer, one thread": lambda: with_threads(False, bert),
        "RoFormerTokenizer": lambda: with_threads(True, words),
        "WoBertTokenizer, no offsets": lambda: ours(lines, verbose=False),
        "its core: ids and spans": lambda: [splitter.pieces(line) for line in lines],
        "its segmenter: rjieba alone": lambda: [splitter.segmenter.cut(line) for line in lines],
    }


def main() -> None:
    """Time every call in turns, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "wobert_tokenizer.json")
    options = parser.parse_args()

    lines = read_lines(options.lines)
    characters = sum(map(len, lines))
    timed = calls(lines, MODELS / "vocab" / "wobert-base.vocab.txt")
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(options.rounds + 1):
        for name, call in timed.items():
            gc.collect()
            begin = perf_counter()
            result = call()
            seconds[name] += [perf_counter() - begin] if turn else []  # the first turn warms up
            del result

    speeds = {name: characters / median(times) / 1e6 for name, times in seconds.items()}
    ratios = {f"WoBertTokenizer / {name}": speeds["WoBertTokenizer"] / speed for name, speed in speeds.items()}
    table = Table("tokenizer", "M characters/s", "ours / it", title=f"{len(lines)} lines, {characters} characters")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.2f}", f"{ratios[f'WoBertTokenizer / {name}']:.2f}")
    Console().print(table)
    report = {
        "lines": len(lines),
        "characters": characters,
        "rounds": options.rounds,
        "million_characters_per_second": {name: round(speed, 3) for name, speed in speeds.items()},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items() if ratio != 1},
        "seconds": {name: [round(time, 3) for time in times] for name, times in seconds.items()},
        "machine": measured_on("none", "tokenizers", "rjieba"),
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
