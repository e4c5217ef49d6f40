"""What a training step of each head costs beside a CRF's: GlobalPointer, its efficient form, softmax.

    python benchmarks/entities_step.py                     # writes benchmarks/results/entities_step.json

The shipped encoder under each head, random ids and entities of three types; a step is forward, backward and fused
AdamW. Each round takes one step of every head, in another order; the first round warms up. Ratios are of the fastest
steps, by the clock and by the processor's time, which other work on the machine changes less. ``head`` is the head
alone, on states that are given: what is left of the difference where the encoder costs nothing.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nlpkit.files import write_json
from nlpkit.tasks.entities import EntityModel

ROOT = Path(__file__).resolve().parent.parent
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


def whole_step(model: EntityModel, batch: dict[str, Tensor]) -> Callable[[], None]:
    """A step of the encoder and its head."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def run() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def head_step(model: EntityModel, batch: dict[str, Tensor]) -> Callable[[], None]:
    """The head and its loss alone, forward and backward."""
    states = torch.randn(*batch["input_ids"].shape, model.config.encoder.hidden_size, requires_grad=True)
    units = batch["attention_mask"].bool()
    field = "scores" if model.config.scores_spans else "chain"

    def run() -> None:
        scored: Any = model.head(states, units)
        output = {field: scored} if field == "scores" or model.config.head == "crf" else {"logits": scored.emissions}
        model.own_loss().terms(output, batch, {})["loss"].backward()
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
        steps["step"][head] = whole_step(model, batch_of(head, options))
        steps["head"][head] = head_step(model, batch_of(head, options))
    found: dict[str, Any] = {}
    for part, runs in steps.items():
        seconds: dict[str, list[tuple[float, float]]] = {head: [] for head in HEADS}
        for turn in range(1 + options.rounds):
            for head in random.Random(turn).sample(HEADS, len(HEADS)):
                begin = perf_counter(), process_time()
                runs[head]()
                if turn:
                    seconds[head].append((perf_counter() - begin[0], process_time() - begin[1]))
        best = {head: tuple(min(column) for column in zip(*taken, strict=True)) for head, taken in seconds.items()}
        found[part] = {
            head: {
                "seconds": round(clock, 4),
                "cpu_seconds": round(cpu, 4),
                "as_fast_as_crf": round(best["crf"][0] / clock, 3),
                "as_fast_as_crf_by_cpu": round(best["crf"][1] / cpu, 3),
            }
            for head, (clock, cpu) in best.items()
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "entities_step.json")
    options = parser.parse_args()
    found = measure(options)
    table = Table("part", "head", "seconds", "as fast as the CRF", "by the processor's time")
    for part, heads in found.items():
        for head, row in heads.items():
            ratios = (f"{row['as_fast_as_crf']:.2f}x", f"{row['as_fast_as_crf_by_cpu']:.2f}x")
            table.add_row(part, head, f"{row['seconds']:.4f}", *ratios)
    Console().print(table)
    shape = {"rows": options.rows, "length": options.length, "rounds": options.rounds, "types": len(TYPES)}
    write_json(options.out, {"shape": shape, "bar": BAR, **found, "measured_on": measured_on("fp32")})


if __name__ == "__main__":
    main()
