"""Hubness by dimension, the memory of a search among 100,000 points, and faiss beside the exact search.

    python benchmarks/retrieval.py                        # writes benchmarks/results/retrieval.json
    python benchmarks/retrieval.py --points 20000 --queries 64 --out small.json

Hubness is of 2,000 normal points, k = 10, Euclidean; means and deviations over five seeds. Memory is the most that a
process has resident during a search above what it had with the embeddings in hand: blocks of scores are alike however
many queries there are, so that the search of all points for all others takes as much, and 12 bytes more for each
neighbour that is found. Ways to search take turns, and ratios are of medians. The committed figures are of
``--queries 1024`` on a machine that was shared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from statistics import mean, stdev
from typing import Any

import torch
from report import Headline, options_of, write_report
from resident_memory import peak_of
from rounds import Budget, take_turns
from tqdm import tqdm

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
    for dimension in tqdm(DIMENSIONS, "hubness", unit="dimension"):
        reports = [hubness(drawn(2000, dimension, seed), metric="euclidean") for seed in range(5)]
        row: dict[str, Any] = {"dimension": dimension}
        for name in ("skewness", "antihubs", "hubs", "gini"):
            values = [getattr(report, name) for report in reports]
            row |= {name: round(mean(values), 4), f"{name}_deviation": round(stdev(values), 4)}
        rows.append(row)
    return rows


def search_once(way: str, points: int, queries: int, dimension: int) -> None:
    """Print the memory of one search, as JSON; run in a process of its own."""
    index, asking = drawn(points, dimension), drawn(queries, dimension, 1)
    Retriever(index[:100], WAYS[way], references=asking[:20]).search(asking[:20])  # what is loaded at first use
    found = peak_of(lambda: Retriever(index, WAYS[way], references=asking).search(asking))
    print(json.dumps({"way": way, "bytes": found["above"], "embeddings": found["before"]}))


def memory(points: int, queries: int, dimension: int) -> list[dict[str, Any]]:
    rows = []
    for way in tqdm(WAYS, "memory", unit="way"):
        command = [sys.executable, __file__, "--way", way, "--points", str(points), "--queries", str(queries)]
        found = subprocess.run([*command, "--dimension", str(dimension)], check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
    return rows


def engines(points: int, queries: int, dimension: int, rounds: int, budget: Budget) -> dict[str, Any]:
    index, asking = drawn(points, dimension), drawn(queries, dimension, 1)
    calls = {
        name: partial(nearest_neighbours, index, asking, engine=engine)
        for name, engine in (("exact", exact_search), ("faiss", faiss_search))
    }
    same = (calls["exact"]().places == calls["faiss"]().places).double().mean().item()
    turns = take_turns(calls, rounds, budget, "searching")
    seconds = turns.medians()
    ratio = round(seconds["exact"] / seconds["faiss"], 2)
    return {"points": points, "queries": queries, **turns.facts(), "exact_over_faiss": ratio, "same_places": same}


def headlines(results: dict[str, Any]) -> list[Headline]:
    points, queries, dimension = results["shape"]
    engines, (plain, *corrected) = results["engines"], results["memory"]
    return [
        Headline(
            f"exact search, {engines['queries']} queries among {engines['points']:,} points of {dimension}",
            "faiss",
            f"{engines['exact_over_faiss']:.2f}x the time, {100 * engines['same_places']:g} % of places alike",
        ),
        *(
            Headline(
                f"search with {way['way']}, {queries} queries among {points:,} points of {dimension}: peak memory",
                "the metric alone",
                f"{way['bytes'] / 1e6:.0f} MB, {way['bytes'] / plain['bytes']:.2f}x",
            )
            for way in corrected
        ),
        Headline(
            "hubness of 2,000 normal points, skewness of neighbours' counts: "
            + ", ".join(str(row["dimension"]) for row in results["growth"])
            + " dimensions",
            "",
            ", ".join(f"{row['skewness']:.2f}" for row in results["growth"]),
        ),
    ]


def main() -> None:
    parser = options_of(__doc__, "retrieval.json", rounds=3, bf16=False)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        search_once(given.way, given.points, given.queries, given.dimension)
        return
    shape = (given.points, given.queries, given.dimension)
    found = {"growth": growth(), "shape": shape, "memory": memory(*shape)}
    few = (min(given.points, 20_000), min(given.queries, 256), given.dimension)
    found["engines"] = engines(*few, given.rounds, Budget(given.budget))
    print(json.dumps(found, indent=1))
    write_report(given, found, "fp32", "faiss-cpu")


if __name__ == "__main__":
    main()
