"""A masked-LM training step of the recipe against the usual one: same weights, same rows, side by side.

    python benchmarks/pretraining_step.py                  # writes benchmarks/results/pretraining_step.json

Ours: the head at masked positions only, plain attention on CPUs, our collator, fused AdamW. The usual one: logits
everywhere, torch's fused attention, transformers' collator, AdamW one parameter after another. Both in the arithmetic
that the recipe chooses on this machine, and in fp32 (``--no-bf16``: in fp32 alone). Steps in turns (A B A B ...),
medians and ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from machine import arithmetic
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from nlpkit import WoBertForMaskedLM, model_path
from nlpkit.data import MaskedTokenCollator

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
        with arithmetic(bf16):
            loss = model(**collate(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(bf16: bool, dropout: float, rounds: int, budget: Budget) -> dict[str, Any]:
    """Median seconds of a step, ours and the usual one, and their ratio."""
    turns = take_turns({"ours": training_step(True, bf16, dropout), "usual": training_step(False, bf16, dropout)},
                       rounds, budget)  # fmt: skip
    seconds = turns.medians()
    return {**turns.facts(), **seconds, "ratio": seconds["usual"] / seconds["ours"]}


def headlines(results: dict[str, Any]) -> list[Headline]:
    return [
        Headline(
            f"pre-training step in {row['arithmetic']}, dropout {row['dropout']:g}",
            "transformers' collator, logits everywhere, fused attention",
            f"{row['ratio']:.2f}x as fast",
        )
        for row in results["results"]
    ]


def main() -> None:
    options = options_of(__doc__, "pretraining_step.json", rounds=9).parse_args()
    table = Table("arithmetic", "dropout", "ours, s", "usual, s", "usual / ours")
    results = []
    cases = [(bf16, dropout) for bf16 in dict.fromkeys([options.bf16, False]) for dropout in (0.0, 0.1)]
    for (bf16, dropout), budget in Budget(options.budget).shared(cases):
        found = measure(bf16, dropout, options.rounds, budget)
        name = "bf16 autocast" if bf16 else "fp32"
        results.append({"arithmetic": name, "dropout": dropout, **found})
        table.add_row(name, str(dropout), f"{found['ours']:.3f}", f"{found['usual']:.3f}", f"{found['ratio']:.2f}")
    Console().print(table)
    write_report(
        options,
        {"rows": ROWS, "length": LENGTH, "results": results},
        "bf16 autocast and fp32" if options.bf16 else "fp32",
    )


if __name__ == "__main__":
    main()
