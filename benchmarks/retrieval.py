"""Hubness by dimension, the memory of a search among 100,000 points, and faiss beside the exact search.

    python benchmarks/retrieval.py                        # writes benchmarks/results/retrieval.json
    python benchmarks/retrieval.py --points 20000 --queries 512 --output /tmp/small.json

Hubness is of 2,000 normal points, k = 10, Euclidean; means and deviations over five seeds. Memory is the most that a
process has resident during a search above what it had with the embeddings in hand: blocks of scores are alike however
many queries there are, so that the search of all points for all others takes as much, and 12 bytes more for each
neighbour that is found. Ways to search take turns, and ratios are of medians; the machine was shared where the results
were committed.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from resident_memory import resident

from nlpkit.files import write_json
from nlpkit.tasks.similarity import (
    CSLS,
    InvertedSoftmax,
    LocalScaling,
    MutualProximity,
    Retriever,
    exact_search,
    faiss_search,
    hubness,
    nearest_neighbours,
)

ROOT = Path(__file__).resolve().parent.parent
WAYS = {
    "metric alone": None,
    "CSLS": CSLS(),
    "local scaling": LocalScaling(),
    "mutual proximity": MutualProximity(),
    "inverted softmax": InvertedSoftmax(),
}
DIMENSIONS = (3, 10, 20, 50, 100)


def drawn(points: int, dimension: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(points, dimension, generator=torch.Generator().manual_seed(seed))


def growth() -> list[dict[str, Any]]:
    rows = []
    for dimension in DIMENSIONS:
        reports = [hubness(drawn(2000, dimension, seed), metric="euclidean") for seed in range(5)]
        row: dict[str, Any] = {"dimension": dimension}
        for name in ("skewness", "antihubs", "hubs", "gini"):
            values = [getattr(report, name) for report in reports]
            row |= {name: round(mean(values), 4), f"{name}_deviation": round(stdev(values), 4)}
        rows.append(row)
        print(row)
    return rows


def search_once(way: str, points: int, queries: int, dimension: int) -> None:
    """Print the memory of one search, as JSON; run in a process of its own."""
    index, asking = drawn(points, dimension), drawn(queries, dimension, 1)
    Retriever(index[:100], WAYS[way], references=asking[:20]).search(asking[:20])  # what is loaded at first use
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the most that was resident
    begin = perf_counter()
    Retriever(index, WAYS[way], references=asking).search(asking)
    seconds = perf_counter() - begin
    print(json.dumps({"way": way, "bytes": resident("VmHWM") - before, "embeddings": before, "seconds": seconds}))


def memory(points: int, queries: int, dimension: int) -> list[dict[str, Any]]:
    rows = []
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--points", str(points), "--queries", str(queries)]
        found = subprocess.run([*command, "--dimension", str(dimension)], check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        print(rows[-1])
    return rows


def engines(points: int, queries: int, dimension: int) -> dict[str, Any]:
    index, asking = drawn(points, dimension), drawn(queries, dimension, 1)
    times: dict[str, list[float]] = {"exact": [], "faiss": []}
    found = {}
    for _ in range(3):
        for name, engine in (("exact", exact_search), ("faiss", faiss_search)):
            begin = perf_counter()
            found[name] = nearest_neighbours(index, asking, engine=engine)
            times[name].append(perf_counter() - begin)
    same = (found["exact"].places == found["faiss"].places).double().mean().item()
    ratio = median(times["exact"]) / median(times["faiss"])
    return {"points": points, "queries": queries, "exact_over_faiss": round(ratio, 2), "same_places": same}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "retrieval.json")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.way:
        search_once(given.way, given.points, given.queries, given.dimension)
        return
    shape = (given.points, given.queries, given.dimension)
    results = {
        "measured_on": measured_on("fp32", "faiss-cpu"),
        "growth": growth(),
        "shape": shape,
        "memory": memory(*shape),
        "engines": engines(min(given.points, 20_000), given.queries // 4, given.dimension),
    }
    write_json(given.output, results)


if __name__ == "__main__":
    main(sys.argv[1:])
