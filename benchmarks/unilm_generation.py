"""What a cache is worth where UniLM writes: keys kept of what was read, against reading all of it again each step.

    python benchmarks/unilm_generation.py                  # writes benchmarks/results/unilm_generation.json

One process, one model, the same sources, in turns (A B A B ...); medians and ratios. Both ways write as many tokens
as are asked for: the end is forbidden. That these are the same is seen in fp32, at the beginning. The shipped model
reads random tokens of its vocabulary: what it writes is of no use here, and takes as long. Committed as
``unilm_generation_fp32.json`` are those of one thread (``OMP_NUM_THREADS=1 ... --no-bf16 --budget 1000``).
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from machine import arithmetic
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns

from nlpkit import UniLmForSequenceToSequence, model_path

#: Source tokens, target tokens, sources per batch, beams.
SHAPES = ((64, 32, 8, 1), (256, 32, 8, 1), (256, 32, 8, 3))


def write(model: UniLmForSequenceToSequence, ids: torch.Tensor, target: int, beams: int, cached: bool) -> torch.Tensor:
    settings = {"max_new_tokens": target, "min_new_tokens": target, "num_beams": beams}
    return model.generate(ids, **settings, use_cache=cached)


def measure(
    model: UniLmForSequenceToSequence, shape: tuple[int, int, int, int], options: argparse.Namespace, budget: Budget
) -> dict[str, Any]:
    """Medians of interleaved rounds, and their ratio."""
    source, target, batch, beams = shape
    ids = torch.randint(200, model.config.vocab_size, (batch, source), generator=torch.Generator().manual_seed(0))
    few = {cached: write(model, ids[:2], 8, beams, cached) for cached in (True, False)}
    assert torch.equal(few[True], few[False])
    ways = {name: partial(write, model, ids, target, beams, name == "cached") for name in ("cached", "uncached")}
    with arithmetic(options.bf16):
        turns = take_turns(ways, options.rounds, budget, f"{source} to {target} tokens, {beams} beams")
    seconds = turns.medians()
    return {
        "source": source,
        "target": target,
        "batch": batch,
        "beams": beams,
        **turns.facts(),
        "seconds_with_cache": seconds["cached"],
        "seconds_without": seconds["uncached"],
        "times_as_fast": seconds["uncached"] / seconds["cached"],
    }


def headlines(results: dict[str, Any]) -> list[Headline]:
    return [
        Headline(
            f"UniLM writes {row['target']} tokens, {row['batch']} sources of {row['source']}, beams: {row['beams']}",
            "without a cache",
            f"{row['times_as_fast']:.1f}x as fast",
        )
        for row in results["results"]
    ]


def main() -> None:
    options = options_of(__doc__, "unilm_generation.json", rounds=3).parse_args()
    model = UniLmForSequenceToSequence.from_pretrained(model_path("wobert-mini-zh")).eval()
    results = [measure(model, shape, options, share) for shape, share in Budget(options.budget).shared(SHAPES)]
    table = Table("source", "target", "batch", "beams", "with cache, s", "without, s", "times as fast")
    for row in results:
        table.add_row(
            *(str(row[name]) for name in ("source", "target", "batch", "beams")),
            f"{row['seconds_with_cache']:.2f}",
            f"{row['seconds_without']:.2f}",
            f"{row['times_as_fast']:.1f}",
        )
    Console(width=120).print(table)
    write_report(options, {"results": results})


if __name__ == "__main__":
    main()
