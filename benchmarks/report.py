"""What all benchmarks have alike: their options, their results files, and what a table takes from these."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from machine import measured_on
from rounds import BEGUN

from nlpkit.files import write_json
from nlpkit.training import bf16_is_fast

RESULTS = Path(__file__).resolve().parent / "results"
#: Seconds after which no benchmark begins anything more unless it is told otherwise: so it ends within three minutes.
BUDGET = 150.0


@dataclass(frozen=True)
class Headline:
    """One row of the table of results."""

    what: str
    against: str
    figure: str
    #: What the project asked for before measuring, and whether it is met.
    bar: str = ""


def bar(figure: float, most: float | None = None, least: float | None = None) -> str:
    """A bar that was set before measuring, and whether a figure meets it."""
    if most is not None:
        return f"at most {most:g}: {'met' if figure <= most else 'not met'}"
    return f"at least {least:g}: {'met' if figure >= least else 'not met'}" if least is not None else ""


def options_of(doc: str | None, results: str, *, rounds: int | None, bf16: bool = True) -> argparse.ArgumentParser:
    """The options that benchmarks have alike; each adds its own.

    Args:
        doc: the module's.
        results: the results file, below ``benchmarks/results``.
        rounds: the default; ``None`` for what is measured once, and so has neither rounds nor a budget.
        bf16: whether a model runs or trains in a precision that can be chosen.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / results, help="the results file")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="at most, and at least one")
        late = "seconds from the start, after which no round is begun; at least one is"
        parser.add_argument("--budget", type=float, default=BUDGET, help=late)
    if bf16:
        fast = "compute in bf16; by default where the processor is fast at it"
        parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=bf16_is_fast(), help=fast)
    return parser


def write_report(options: argparse.Namespace, found: dict[str, Any], precision: str = "", *packages: str) -> None:
    """Write what was found, with the command, the machine and the seconds that all of it took.

    Args:
        options: as given to the benchmark.
        found: its figures.
        precision: that they were computed in, where ``--bf16`` does not say it.
        packages: that they depend on, beside torch and transformers.
    """
    precision = precision or ("bf16 autocast" if options.bf16 else "fp32")
    facts = {"command": command(sys.argv), "measured_on": measured_on(precision, *packages)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, facts | {"seconds": round(time() - BEGUN, 1)} | found)
    print(f"{options.out} is written")


def command(arguments: list[str]) -> str:
    """The command as others can give it: without ``--out``, and with files of this machine by their names alone."""
    script, *given = arguments
    kept = [
        Path(word).name if Path(word).is_absolute() else word
        for before, word in zip(["", *given], given, strict=False)
        if "--out" not in (before, word.partition("=")[0])
    ]
    return " ".join(["python", f"benchmarks/{Path(script).name}", *kept])
