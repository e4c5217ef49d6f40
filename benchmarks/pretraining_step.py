"""A masked-LM training step of the recipe against the usual one: same weights, same rows, side by side.

    python benchmarks/pretraining_step.py                  # writes benchmarks/results/pretraining_step.json

Ours: the head at masked positions only, plain attention on CPUs, our collator, fused AdamW. The usual one: logits
everywhere, torch's fused attention, transformers' collator, AdamW one parameter after another. Both in the arithmetic
that the recipe chooses on this machine, and in fp32. Steps in turns (A B A B ...), medians and ratios.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from nlpkit import WoBertForMaskedLM, model_path
from nlpkit.data import MaskedTokenCollator
from nlpkit.training import bf16_is_fast

ROWS, LENGTH, MASKED = 24, 128, 0.25


def training_step(ours: bool, bf16: bool, dropout: float) -> Callable[[], None]:
    """One optimizer step on rows of random ordinary tokens."""
    folder = model_path("wobert-mini-zh")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = WoBertForMaskedLM.from_pretrained(
        folder,
        dtype="float32",
        sparse_prediction=ours,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation="eager" if ours and not torch.cuda.is_available() else "sdpa",
    ).train()
    collate: Any = MaskedTokenCollator(tokenizer, MASKED)
    if not ours:
        collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=ours or None, foreach=None if ours else False)
    ids = torch.randint(106, 19_000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [{"input_ids": row} for row in ids]

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**collate(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(bf16: bool, dropout: float, rounds: int) -> dict[str, float]:
    """Median seconds of a step, ours and the usual one, and their ratio."""
    steps = {"ours": training_step(True, bf16, dropout), "usual": training_step(False, bf16, dropout)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            start = perf_counter()
            step()
            if turn >= 2:
                times[name].append(perf_counter() - start)
    seconds = {name: median(found) for name, found in times.items()}
    return {**seconds, "ratio": seconds["usual"] / seconds["ours"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", default="benchmarks/results/pretraining_step.json")
    arguments = parser.parse_args()
    table = Table("arithmetic", "dropout", "ours, s", "usual, s", "usual / ours")
    results = []
    for bf16 in dict.fromkeys([bf16_is_fast(), False]):
        for dropout in (0.0, 0.1):
            found = measure(bf16, dropout, arguments.rounds)
            name = "bf16 autocast" if bf16 else "fp32"
            results.append({"arithmetic": name, "dropout": dropout, **found})
            table.add_row(name, str(dropout), f"{found['ours']:.3f}", f"{found['usual']:.3f}", f"{found['ratio']:.2f}")
    Console().print(table)
    facts = {"machine": measured_on("as named"), "rows": ROWS, "length": LENGTH}
    Path(arguments.output).write_text(json.dumps(facts | {"results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
