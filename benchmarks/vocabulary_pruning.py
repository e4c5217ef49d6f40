"""What a smaller vocabulary saves: a training step of an mT5-small, and how fast corpora are counted and summarised.

    python benchmarks/vocabulary_pruning.py                # writes benchmarks/results/vocabulary_pruning.json

The step: mT5-small's shape with 250,112 and with 32,598 rows, random weights, fused AdamW, in turns (A B A B), medians
and their ratio. Counting: lines of ``$NLPKIT_DATA/corpus-zh``, where it is found, read from its files (again from the
first when all are read), in two processes, their start included. Summarising: the first lines of each file. The
committed figures are of ``--no-bf16 --lines 1000000 --budget 300``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain, cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from machine import arithmetic
from report import Headline, options_of, write_report
from rounds import Budget, take_turns
from tqdm import tqdm
from transformers import BertTokenizer, MT5Config

from nlpkit.mt5 import faithful_tokenizer, new_mt5, pseudo_summary
from nlpkit.text_files import read_lines
from nlpkit.vocabulary_pruning import count_tokens
from nlpkit.vocabulary_pruning.models.rows import gathered, model_with_rows, vocabulary_tables

#: Rows, source tokens and target tokens of a batch: the shorter the source, the more of a step is the head.
SHAPES = [(8, 32, 32), (8, 32, 64), (4, 128, 32)]
KEPT = 32_598
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def steps(rows: int, source: int, target: int, bf16: bool) -> dict[str, Callable[[], None]]:
    """A training step with all rows of the vocabulary, and one with the rows of Chinese."""
    torch.manual_seed(0)
    whole = new_mt5(MT5Config())
    tables = vocabulary_tables(type(whole), whole.config)
    models = {"whole": whole, "pruned": model_with_rows(whole, tables, gathered(torch.arange(KEPT)), KEPT)}
    ids = torch.randint(3, KEPT, (rows, max(source, target)))
    return {name: step_of(model, ids[:, :source], ids[:, :target], bf16) for name, model in models.items()}


def step_of(model: Any, ids: torch.Tensor, labels: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """Forward, backward, clipping and AdamW on one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    ids, labels = ids.contiguous(), labels.contiguous()

    def step() -> None:
        with arithmetic(bf16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare_steps(shape: tuple[int, int, int], bf16: bool, rounds: int, budget: Budget) -> dict[str, Any]:
    """Median seconds of both steps, and their ratio."""
    turns = take_turns(steps(*shape, bf16), rounds, budget, f"steps of {shape}")
    seconds = turns.medians()
    ratio = seconds["whole"] / seconds["pruned"]
    return {"rows, source, target": shape, **turns.facts(), **seconds, "ratio": ratio}


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
    for name, tokenizer in tqdm(tokenizers.items(), "counting", unit="tokenizer"):
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


def headlines(results: dict[str, Any]) -> list[Headline]:
    rows = []
    for row in results["steps"]:
        batch, source, target = row["rows, source, target"]
        what = f"mT5-small's training step, 32,598 rows of vocabulary, {batch} texts of {source} to {target} tokens"
        rows.append(Headline(what, "all 250,112 rows", f"{row['ratio']:.2f}x as fast"))
    rates = results["rates"]
    for kind, name in (("unigram", "Unigram"), ("word_piece", "WordPiece")) if rates else ():
        rate = f"{rates['lines'] / rates[f'{kind}_seconds']:,.0f} lines per second"
        rows.append(Headline(f"counting a corpus's tokens, {name}, two processes", "", rate))
    return rows


def main() -> None:
    parser = options_of(__doc__, "vocabulary_pruning.json", rounds=5)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--documents", type=int, default=20_000)
    options = parser.parse_args()
    counted = rates(options.lines, options.documents)
    compared = [
        compare_steps(shape, options.bf16, options.rounds, budget)
        for shape, budget in Budget(options.budget).shared(SHAPES)
    ]
    found = {"steps": compared, "rates": counted}
    print(found)
    write_report(options, found, "", "tokenizers")


if __name__ == "__main__":
    main()
