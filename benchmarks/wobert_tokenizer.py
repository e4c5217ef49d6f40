"""Characters a second of a batch call: WoBertTokenizer against transformers' own tokenizers, side by side.

    python benchmarks/wobert_tokenizer.py                      # writes benchmarks/results/wobert_tokenizer.json

All tokenizers get the same lines in the same process, in turns (A B C A B C ...); the figures are medians and their
ratios; those that are committed are of ``--lines 16000 --budget 300``. Needs the public data and vocabularies beside
the checkout (NLPKIT_DATA, NLPKIT_MODELS).
"""

from __future__ import annotations

import lzma
import os
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
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


def headlines(results: dict[str, Any]) -> list[Headline]:
    against = ("BertTokenizer, its default threads", "BertTokenizer, one thread", "RoFormerTokenizer")
    what = f"characters per second, {results['lines']:,} lines in a call, offsets on"
    return [Headline(what, name, f"{results['ratios'][f'WoBertTokenizer / {name}']:.2f}x") for name in against]


def main() -> None:
    """Time every call in turns, print the table, write the JSON."""
    parser = options_of(__doc__, "wobert_tokenizer.json", rounds=7, bf16=False)
    parser.add_argument("--lines", type=int, default=8_000)
    options = parser.parse_args()

    lines = read_lines(options.lines)
    characters = sum(map(len, lines))
    timed = calls(lines, MODELS / "vocab" / "wobert-base.vocab.txt")
    turns = take_turns(timed, options.rounds, Budget(options.budget), "tokenizing")
    speeds = {name: characters / seconds / 1e6 for name, seconds in turns.medians().items()}
    ratios = {f"WoBertTokenizer / {name}": speeds["WoBertTokenizer"] / speed for name, speed in speeds.items()}
    table = Table("tokenizer", "M characters/s", "ours / it", title=f"{len(lines)} lines, {characters} characters")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.2f}", f"{ratios[f'WoBertTokenizer / {name}']:.2f}")
    Console().print(table)
    found = {
        "lines": len(lines),
        "characters": characters,
        **turns.facts(),
        "million_characters_per_second": {name: round(speed, 3) for name, speed in speeds.items()},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items() if ratio != 1},
        "all_seconds": {name: [round(time, 3) for time in turns.clock(name)] for name in timed},
    }
    write_report(options, found, "no arithmetic", "tokenizers", "rjieba")


if __name__ == "__main__":
    main()
