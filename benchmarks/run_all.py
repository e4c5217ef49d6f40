"""Runs the benchmarks one after another, and makes one table of all results files.

    python benchmarks/run_all.py                       # shares 1,400 seconds out among them
    python benchmarks/run_all.py --only losses retrieval
    python benchmarks/run_all.py --table-only          # benchmarks/results/README.md from the files that are there

Each is a process of its own and gets its share of the time that is left. One that fails does not stop the others; it
is named at the end, and the status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import time
from typing import Any

from report import RESULTS, Headline
from tqdm import tqdm

from nlpkit.files import write_text

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
CORPUS = Path(os.environ.get("NLPKIT_DATA") or SHARED / "data") / "corpus-zh"
VOCABULARIES = Path(os.environ.get("NLPKIT_MODELS") or SHARED / "models") / "vocab"
#: Seconds, after which one is stopped.
LONGEST = 300


@dataclass(frozen=True)
class Benchmark:
    """A script, the seconds that it is to have, and what it reads beside the checkout."""

    script: str
    seconds: int
    #: Whether more time gives more rounds.
    repeats: bool = True
    needs: tuple[Path, ...] = ()
    #: Its results files, below ``benchmarks/results``.
    files: str = ""

    def results(self) -> list[Path]:
        """Its results files that are there."""
        return sorted(RESULTS.glob(self.files or f"{self.script}*.json"))


BENCHMARKS = (
    Benchmark("wobert_tokenizer", 70, needs=(CORPUS, VOCABULARIES)),
    Benchmark("pretraining_step", 70),
    Benchmark("pet_scoring", 60),
    Benchmark("perturbed_masking", 90),
    Benchmark("ladder_side_tuning", 90),
    Benchmark("vocabulary_pruning", 90),
    Benchmark("teaforn_step", 90),
    Benchmark("unilm_generation", 90),
    Benchmark("entities_step", 45),
    Benchmark("losses", 90),
    Benchmark("training_steps", 110),
    Benchmark("training_gradients", 60, repeats=False),
    Benchmark("mezo_memory", 80, repeats=False),
    Benchmark("grad_cache_memory", 50, repeats=False),
    Benchmark("retrieval", 90),
    Benchmark("positions", 40, repeats=False, files="probes/positions*.json"),
    Benchmark("embedding_density", 70, needs=(CORPUS,), files="probes/density-*.json"),
    Benchmark("state_scale", 90, needs=(HERE.parent / "data" / "pfr-entities" / "train.jsonl",)),
    Benchmark("scale_arithmetic", 120, needs=(CORPUS,)),
)
#: Scripts that are not run here, and why.
ELSEWHERE = {
    "ray_workers": "takes half an hour of a quiet machine",
    "row_distillation": "takes hours, and continues where it was stopped",
    "techniques": "makes a table of a recipe's runs",
}
COLUMNS = ("what", "against what", "figure", "bar", "measured on", "command", "seconds")


def run(benchmark: Benchmark, seconds: float) -> str:
    """Why it failed, or nothing."""
    command = [sys.executable, str(HERE / f"{benchmark.script}.py")]
    if benchmark.repeats:
        command += ["--budget", str(round(seconds))]
    try:
        status = subprocess.run(command, cwd=HERE.parent, timeout=LONGEST, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"stopped after {LONGEST} seconds"
    return f"status {status}" if status else ""


def run_all(benchmarks: list[Benchmark], budget: float) -> dict[str, str]:
    """What failed, and why."""
    failed, ends = {}, time() + budget
    for place, benchmark in enumerate(tqdm(benchmarks, "benchmarks", unit="script")):
        missing = [path for path in benchmark.needs if not path.exists()]
        if missing:
            print(f"{benchmark.script} is left out, since it needs {missing[0]}", flush=True)
            continue
        waiting = sum(each.seconds for each in benchmarks[place:])
        seconds = min(benchmark.seconds, (ends - time()) * benchmark.seconds / waiting)
        print(f"\n{benchmark.script}", flush=True)
        if reason := run(benchmark, seconds):
            failed[benchmark.script] = reason
    return failed


def rows(benchmark: Benchmark) -> Iterator[tuple[str, ...]]:
    """Of the table, from the results files of a benchmark."""
    for path in benchmark.results():
        results = json.loads(path.read_text("utf-8"))
        headlines: list[Headline] = import_module(benchmark.script).headlines(results)
        where = machine(results.get("measured_on", {}))
        command = f"`{results['command']}`" if "command" in results else "not recorded"
        seconds = f"{results['seconds']:.0f}" if "seconds" in results else "not recorded"
        for row in headlines:
            yield row.what, row.against, row.figure, row.bar, where, command, seconds


def machine(facts: Mapping[str, Any]) -> str:
    """Processor, threads and precision, as far as they were recorded."""
    threads = facts.get("threads")
    known = [
        facts.get("processor", "processor not recorded"),
        "threads not recorded" if threads is None else f"{threads} thread{'s' * (threads != 1)}",
        facts.get("precision", "precision not recorded"),
    ]
    return ", ".join(known) if facts else "not recorded"


def table() -> str:
    """All results files as a page."""
    lines = [
        "# Results of the benchmarks",
        "",
        "`make bench` measures and writes this page; `python benchmarks/run_all.py --table-only` makes it of the",
        "results files beside it. How it is measured stands in docs/measuring.md. Where no seconds are recorded, an",
        "earlier form of the script measured it, and the command asks today's for the same settings.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join('---' for _ in COLUMNS)} |",
    ]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for each in BENCHMARKS for row in rows(each)]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [benchmark.script for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--budget", type=float, default=1400.0, help="seconds for all of them")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    options = parser.parse_args()
    failed = {}
    if not options.table_only:
        failed = run_all([each for each in BENCHMARKS if each.script in options.only], options.budget)
    write_text(RESULTS / "README.md", table())
    print(f"{RESULTS / 'README.md'} is written")
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
