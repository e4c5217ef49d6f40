"""What a training step of each head costs beside a CRF's: GlobalPointer, its efficient form, softmax.

    python benchmarks/entities_step.py                     # writes benchmarks/results/entities_step.json

The shipped encoder under each head, random ids and entities of three types; a step is forward, backward and fused
AdamW. Each round takes one step of every head, in another order; the first round warms up. Ratios are of the fastest
steps, by the clock and by the processor's time, which other work on the machine changes less. ``head`` is the head
alone, on states that are given: what is left of the difference where the encoder costs nothing. The committed figures
are of ``--no-bf16`` on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from machine import arithmetic
from report import Headline, bar, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from torch import Tensor

from nlpkit.tasks.entities import EntityModel

HEADS = ("crf", "global_pointer", "efficient_global_pointer", "softmax")
TYPES = ["LOC", "ORG", "PER"]
#: How many times as fast as the CRF's step that of GlobalPointer is to be.
BAR = 1.2


def batch_of(head: str, options: argparse.Namespace) -> dict[str, Tensor]:
    """Random ids, and five entities per text."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 5000, (options.rows, options.length), generator=generator)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    firsts = torch.arange(0, options.length - 4, options.length // 5)[:5].expand(options.rows, 5)
    kinds = torch.randint(0, len(TYPES), (options.rows, 5), generator=generator)
    if "pointer" in head:
        entities = torch.stack([kinds, firsts, firsts + 2], dim=-1)
        return batch | {"entities": entities, "labels": torch.full((options.rows,), 5)}
    labels = torch.zeros_like(ids)
    labels.scatter_(1, firsts, 1 + 2 * kinds)
    for place in (1, 2):
        labels.scatter_(1, firsts + place, 2 + 2 * kinds)
    return batch | {"labels": labels}


def whole_step(model: EntityModel, batch: dict[str, Tensor], bf16: bool) -> Callable[[], None]:
    """A step of the encoder and its head."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def run() -> None:
        with arithmetic(bf16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def head_step(model: EntityModel, batch: dict[str, Tensor], bf16: bool) -> Callable[[], None]:
    """The head and its loss alone, forward and backward."""
    states = torch.randn(*batch["input_ids"].shape, model.config.encoder.hidden_size, requires_grad=True)
    units = batch["attention_mask"].bool()
    field = "scores" if model.config.scores_spans else "chain"

    def run() -> None:
        with arithmetic(bf16):
            scored: Any = model.head(states, units)
            whole = field == "scores" or model.config.head == "crf"
            output = {field: scored} if whole else {"logits": scored.emissions}
            loss = model.own_loss().terms(output, batch, {})["loss"]
        loss.backward()
        states.grad = None

    return run


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Fastest seconds of each head's steps, and ratios to the CRF's."""
    steps: dict[str, dict[str, Callable[[], None]]] = {"step": {}, "head": {}}
    for head in HEADS:
        torch.manual_seed(0)
        model = EntityModel.from_pretrained(
            "wobert-mini-zh", types=TYPES, head=head, dtype=torch.float32, attn_implementation="eager"
        ).train()
        steps["step"][head] = whole_step(model, batch_of(head, options), options.bf16)
        steps["head"][head] = head_step(model, batch_of(head, options), options.bf16)
    found: dict[str, Any] = {}
    for (part, runs), budget in Budget(options.budget).shared(steps.items()):
        turns = take_turns(runs, options.rounds, budget, part, shuffled=True)
        crf = turns.fastest("crf")
        found |= turns.facts() | {part: {}}
        for head in HEADS:
            own = turns.fastest(head)
            found[part][head] = {
                "seconds": round(own.clock, 4),
                "cpu_seconds": round(own.processor, 4),
                "as_fast_as_crf": round(crf.clock / own.clock, 3),
                "as_fast_as_crf_by_cpu": round(crf.processor / own.processor, 3),
            }
    return found


def headlines(results: dict[str, Any]) -> list[Headline]:
    rows = []
    for part, name in (("step", "a training step"), ("head", "head and loss alone")):
        for head in HEADS[1:]:
            own = results[part][head]
            figure = f"{own['as_fast_as_crf']:.2f}x as fast, {own['as_fast_as_crf_by_cpu']:.2f}x by processor time"
            asked = bar(own["as_fast_as_crf"], least=BAR) if (part, head) == ("step", "global_pointer") else ""
            rows.append(Headline(f"{name}, {head.replace('_', ' ')}", "CRF", figure, asked))
    return rows


def main() -> None:
    parser = options_of(__doc__, "entities_step.json", rounds=8)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_args()
    found = measure(options)
    table = Table("part", "head", "seconds", "as fast as the CRF", "by the processor's time")
    for part in ("step", "head"):
        for head, row in found[part].items():
            ratios = (f"{row['as_fast_as_crf']:.2f}x", f"{row['as_fast_as_crf_by_cpu']:.2f}x")
            table.add_row(part, head, f"{row['seconds']:.4f}", *ratios)
    Console().print(table)
    shape = {"rows": options.rows, "length": options.length, "types": len(TYPES)}
    write_report(options, {"shape": shape, "bar": BAR, **found})


if __name__ == "__main__":
    main()
