"""What a smaller vocabulary saves: a training step of an mT5-small, and how fast corpora are counted and summarised.

    python benchmarks/vocabulary_pruning.py                # writes benchmarks/results/vocabulary_pruning.json

The step: mT5-small's shape with 250,112 and with 32,598 rows, random weights, fp32, fused AdamW, in turns (A B A B),
medians and their ratio. Counting: a million lines of ``$NLPKIT_DATA/corpus-zh``, where it is found, read from its
files (again from the first when all are read), in two processes, their start included. Summarising: the first lines of
each file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from transformers import BertTokenizer, MT5Config

from nlpkit.files import write_json
from nlpkit.mt5 import faithful_tokenizer, new_mt5, pseudo_summary
from nlpkit.text_files import read_lines
from nlpkit.vocabulary_pruning import count_tokens
from nlpkit.vocabulary_pruning.models.rows import gathered, model_with_rows, vocabulary_tables

#: Rows, source tokens and target tokens of a batch: the shorter the source, the more of a step is the head.
SHAPES = [(8, 32, 32), (8, 32, 64), (4, 128, 32)]
KEPT = 32_598
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def steps(rows: int, source: int, target: int) -> dict[str, Callable[[], None]]:
    """A training step with all rows of the vocabulary, and one with the rows of Chinese."""
    torch.manual_seed(0)
    whole = new_mt5(MT5Config())
    tables = vocabulary_tables(type(whole), whole.config)
    models = {"whole": whole, "pruned": model_with_rows(whole, tables, gathered(torch.arange(KEPT)), KEPT)}
    ids = torch.randint(3, KEPT, (rows, max(source, target)))
    return {name: step_of(model, ids[:, :source], ids[:, :target]) for name, model in models.items()}


def step_of(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """Forward, backward, clipping and AdamW on one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    ids, labels = ids.contiguous(), labels.contiguous()

    def step() -> None:
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare_steps(rounds: int, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Median seconds of both steps, and their ratio."""
    times: dict[str, list[float]] = {"whole": [], "pruned": []}
    both = steps(*shape)
    for turn in range(rounds + 1):
        for name, step in both.items():
            start = perf_counter()
            step()
            if turn:
                times[name].append(perf_counter() - start)
    seconds = {name: median(found) for name, found in times.items()}
    return {"rows, source, target": shape, **seconds, "ratio": seconds["whole"] / seconds["pruned"]}


def rates(lines: int, documents: int) -> dict[str, float]:
    """Seconds of counting lines with two processes, and documents summarised per second with one."""
    models = Path(os.environ.get("NLPKIT_MODELS") or SHARED / "models") / "vocab"
    data = Path(os.environ.get("NLPKIT_DATA") or SHARED / "data") / "corpus-zh"
    files = sorted(data.glob("*.txt.xz"))
    if not files:
        return {}
    tokenizers = {
        "unigram": faithful_tokenizer(models / "mt5-cn-pruned.spiece.model"),
        "word_piece": BertTokenizer(vocab=str(models / "bert-base-chinese.vocab.txt")),
    }
    found: dict[str, float] = {"lines": lines}
    for name, tokenizer in tokenizers.items():
        texts = islice(chain.from_iterable(map(read_lines, cycle(files))), lines)
        start = perf_counter()
        counted = count_tokens(texts, tokenizer.backend_tokenizer, processes=2)
        found[f"{name}_seconds"] = perf_counter() - start
        found["characters_per_line"] = counted.characters / counted.texts
    texts = [line for path in files for line in islice(read_lines(path), documents // len(files))]
    start = perf_counter()
    summaries = [pseudo_summary(text) for text in texts]
    found["documents_per_second"] = len(texts) / (perf_counter() - start)
    found["characters_per_document"] = sum(map(len, texts)) / len(texts)
    found["documents_of_several_sentences"] = sum(summary is not None for summary in summaries)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--output", default="benchmarks/results/vocabulary_pruning.json")
    arguments = parser.parse_args()
    found = {
        "machine": measured_on("fp32", "tokenizers"),
        "steps": [compare_steps(arguments.rounds, shape) for shape in SHAPES],
        "rates": rates(arguments.lines, arguments.documents),
    }
    print(found)
    write_json(arguments.output, found)


if __name__ == "__main__":
    main()
