"""What Ray's workers are worth on this machine, and what memory a long file takes, by whole commands of `nlpkit`.

    python benchmarks/ray_workers.py                     # half an hour on two quiet cores
    python benchmarks/ray_workers.py --lines 5000000     # and the memory of so many lines of 40 characters
    python benchmarks/ray_workers.py --small --out FILE  # that it works, not what it takes

Each verb runs on the same file with `--engine here`, in two processes, and with one and two workers of Ray, in turns.
Starting Ray and loading nlpkit in its workers counts; how much that is tells the same command with a single line. The
process that began the work reads the texts too, and writes the results, beside the workers. Memory is proportional
set size, summed over that process and all that it started, shared memory included. Needs Linux, the extra `scale` and
the public data beside the checkout (NLPKIT_DATA).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any

import psutil
from report import options_of, write_report
from rounds import Budget, take_turns
from scale_texts import read_lines

#: Lines for each verb, of about 110 characters each, and what it is told beside the file.
VERBS: dict[str, tuple[int, Sequence[str]]] = {
    "tokenize": (200_000, ()),
    "segment": (80_000, ()),
    "classify": (2_048, ("--pattern", "{text}总之很{mask}。", "--label", "good=好", "--label", "bad=差")),
}
WAYS: dict[str, Sequence[str]] = {
    "here": (),
    "2 processes": ("--workers", "2"),
    "ray, 1 worker": ("--engine", "ray", "--workers", "1"),
    "ray, 2 workers": ("--engine", "ray", "--workers", "2"),
}
ROUNDS = 2
#: Of the long file that memory is measured on: shares of its time that are looked at for themselves.
SHARES = 5


def write_lines(path: Path, lines: int, characters: int | None = None) -> Path:
    """A file of so many lines of the corpus, whole or so much of them, again and again if it has fewer."""
    texts = [line[:characters] for line in read_lines(megabytes=min(lines / 2000, 60)) if line.strip()]
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in islice(cycle(texts), lines))
    return path


def run(verb: str, file: Path, way: str) -> None:
    """One command, from its beginning to its end."""
    subprocess.run(command(verb, file, way), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def command(verb: str, file: Path, way: str) -> list[str]:
    """The words of a command."""
    return [sys.executable, "-m", "nlpkit", verb, *VERBS[verb][1], "--file", str(file), *WAYS[way]]


def memory_of(arguments: list[str]) -> dict[str, Any]:
    """What a command and all that it starts have in memory: the most in each fifth of its time."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen, over, begun = [], Event(), perf_counter()

    def look() -> None:
        while not over.is_set():
            seen.append(sum(proportional_sizes(process.pid)))
            sleep(1)

    watcher = Thread(target=look)
    watcher.start()
    status = process.wait()
    over.set()
    watcher.join()
    if status:
        raise subprocess.CalledProcessError(status, arguments)
    step = len(seen) / SHARES
    shares = [seen[round(step * place) : max(round(step * (place + 1)), 1)] for place in range(SHARES)]
    return {
        "seconds": round(perf_counter() - begun, 1),
        "most_megabytes_in_each_fifth": [round(max(share) / 1e6) for share in shares],
    }


def proportional_sizes(pid: int) -> Iterator[int]:
    """Bytes of a process and of its descendants; memory that several have is shared out among them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        own = psutil.Process(pid)
        for process in chain([own], own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                yield process.memory_full_info().pss


def measure(verb: str, folder: Path, lines: int) -> dict[str, Any]:
    """All ways for one verb."""
    file, one = write_lines(folder / f"{verb}.txt", lines), write_lines(folder / "one.txt", 1)
    calls = {way: partial(run, verb, file, way) for way in WAYS}
    turns = take_turns(calls, ROUNDS, Budget(float("inf")), verb, warm_up=False)
    seconds = turns.medians()
    begun = perf_counter()
    run(verb, one, "ray, 2 workers")
    start = perf_counter() - begun
    whole, steady = (
        (seconds["ray, 1 worker"] - without) / (seconds["ray, 2 workers"] - without) for without in (0, start)
    )
    return {
        "lines": lines,
        "megabytes": round(file.stat().st_size / 1e6, 1),
        "seconds": {way: round(value, 1) for way, value in seconds.items()},
        "seconds_of_one_line_by_ray": round(start, 1),
        "two_workers_over_one": round(whole, 2),
        "two_workers_over_one_without_the_start": round(steady, 2),
        **turns.facts(),
    }


def main() -> None:
    """Measure, and write the results file."""
    parser = options_of(__doc__, "ray_workers/results.json", rounds=None, bf16=False)
    parser.add_argument("--lines", type=int, help="of a file whose memory is measured, too")
    parser.add_argument("--only", nargs="*", choices=[*VERBS], default=[*VERBS], help="these verbs, or none")
    parser.add_argument("--small", action="store_true", help="a hundredth of everything")
    options = parser.parse_args()
    found: dict[str, Any] = {"verbs": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for verb in options.only:
            found["verbs"][verb] = measure(verb, folder, VERBS[verb][0] // (100 if options.small else 1))
            print(verb, found["verbs"][verb])
        if options.lines:
            file = write_lines(folder / "long.txt", options.lines, characters=40)
            found["memory"] = {
                "verb": "tokenize",
                "lines": options.lines,
                "megabytes": round(file.stat().st_size / 1e6),
            }
            found["memory"] |= memory_of(command("tokenize", file, "ray, 2 workers"))
            print(found["memory"])
    write_report(options, found, "fp32", "ray")


if __name__ == "__main__":
    main()
