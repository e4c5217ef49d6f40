"""What a cache is worth where UniLM writes: keys kept of what was read, against reading all of it again each step.

    python benchmarks/unilm_generation.py                  # writes benchmarks/results/unilm_generation.json

One process, one model, the same sources, in turns (A B A B ...); medians and ratios. Both ways write the same tokens,
as many as are asked for: the end is forbidden. The shipped model reads random
tokens of its vocabulary: what it writes is of no use here, and takes as long.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table

from nlpkit import UniLmForSequenceToSequence, model_path

#: Source tokens, target tokens, sources per batch, beams.
SHAPES = ((256, 32, 8, 1), (256, 32, 8, 3), (64, 32, 8, 1))


def measure(
    model: UniLmForSequenceToSequence, source: int, target: int, batch: int, beams: int, rounds: int
) -> dict[str, Any]:
    """Medians of interleaved rounds, and their ratio."""
    ids = torch.randint(200, model.config.vocab_size, (batch, source), generator=torch.Generator().manual_seed(0))
    settings = {"max_new_tokens": target, "min_new_tokens": target, "num_beams": beams}
    times: dict[bool, list[float]] = {True: [], False: []}
    written = {cached: model.generate(ids, **settings, use_cache=cached) for cached in times}
    assert torch.equal(written[True], written[False])
    for _ in range(rounds):
        for cached, found in times.items():
            start = perf_counter()
            model.generate(ids, **settings, use_cache=cached)
            found.append(perf_counter() - start)
    with_cache, without = median(times[True]), median(times[False])
    return {
        "source": source,
        "target": target,
        "batch": batch,
        "beams": beams,
        "rounds": rounds,
        "seconds_with_cache": with_cache,
        "seconds_without": without,
        "times_as_fast": without / with_cache,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="benchmarks/results/unilm_generation.json")
    arguments = parser.parse_args()
    model = UniLmForSequenceToSequence.from_pretrained(model_path("wobert-mini-zh")).eval()
    results = [measure(model, *shape, arguments.rounds) for shape in SHAPES]
    table = Table("source", "target", "batch", "beams", "with cache, s", "without, s", "times as fast")
    for row in results:
        table.add_row(
            *(str(row[name]) for name in ("source", "target", "batch", "beams")),
            f"{row['seconds_with_cache']:.2f}",
            f"{row['seconds_without']:.2f}",
            f"{row['times_as_fast']:.1f}",
        )
    Console(width=120).print(table)
    facts = {"machine": measured_on("fp32")}
    Path(arguments.output).write_text(json.dumps(facts | {"results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
