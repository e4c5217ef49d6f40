"""What a step of training costs with each technique, beside the same step without it: time and memory.

    python benchmarks/training_steps.py                    # writes benchmarks/results/training_steps.json

The shipped model under `TechniqueTrainer`, fused AdamW, rows of random ids without padding. Each round takes all ways
in another order, each right after the plain one that it is compared with, three steps each, of which the first warms
up (with the gradient penalty it takes a pass more); a step lasts from the end of one to the end of the next. Ratios
are medians over rounds, peak memory is that of the tensors that a run makes above weights and the optimizer's state
(`nlpkit.probes.peak_bytes`). "Bar" is the time ratio that a technique may cost at most; "plain, as many rows as
R-Drop" is the least that a second pass of all rows can cost. The figures in docs/techniques.md are of ``--no-bf16
--rows 32 --budget 1800``.
"""

from __future__ import annotations

import argparse
import gc
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from report import Headline, bar, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, StepClock, Taken, take_turns
from step_trainers import steps, trainer_of
from tqdm import tqdm
from transformers.utils import logging

from nlpkit.probes import peak_bytes


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak bytes of a step of each way, and how many rounds there were."""
    every = steps()
    wanted = [step for step in every if options.only.lower() in step.name.lower()]
    chosen = [step for step in every if step in wanted or step.name in {other.beside for other in wanted}]
    peaks: dict[str, int] = {}
    ratios: dict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        clocks = {step.name: StepClock() for step in chosen}
        trainers = {
            step.name: trainer_of(
                folder,
                step.copies * options.rows,
                options.length,
                [clocks[step.name]],
                {**step.make(), "bf16": options.bf16 and step.bf16},
            )
            for step in chosen
        }
        for name, trainer in tqdm(trainers.items(), "measuring memory", unit="way"):
            trainer.train()  # makes the optimizer's state
            gc.collect()
            peaks[name] = peak_bytes(trainer.train, torch.device("cpu"))
            clocks[name].take()

        def seconds_of(name: str) -> Taken:
            gc.collect()
            trainers[name].train()
            return clocks[name].take()

        def beside(name: str, plain: str) -> Taken:
            before, own = seconds_of(plain), seconds_of(name)
            ratios[name].append(own.clock / before.clock)
            return own

        calls: dict[str, Callable[[], Taken]] = {step.name: partial(beside, step.name, step.beside) for step in chosen}
        turns = take_turns(
            calls, options.rounds, Budget(options.budget), "measuring time", shuffled=True, warm_up=False
        )
    found = {
        step.name: {
            "peak_bytes": peaks[step.name],
            "seconds": [round(seconds, 4) for seconds in turns.clock(step.name)],
            "ratios": [round(ratio, 3) for ratio in ratios[step.name]],
            "beside": step.beside,
            "time_ratio": round(median(ratios[step.name]), 3),
            "peak_ratio": round(peaks[step.name] / peaks[step.beside], 3),
            "bar": step.bar,
        }
        for step in chosen
    }
    return {**turns.facts(), "steps": {f"{options.rows} rows of {options.length} tokens": found}}


def steps_table(found: dict[str, Any], title: str) -> Table:
    table = Table("step", "beside", "time", "time ratio", "bar", "peak ratio", title=title)
    for name, own in found.items():
        met = "" if own["bar"] is None else f"{own['bar']} {'met' if own['time_ratio'] <= own['bar'] else 'not met'}"
        time = f"{1000 * median(own['seconds']):.0f} ms"
        table.add_row(name, own["beside"], time, f"{own['time_ratio']:.2f}", met, f"{own['peak_ratio']:.2f}")
    return table


def headlines(results: dict[str, Any]) -> list[Headline]:
    return [
        Headline(
            f"training step, {shape}: {name}",
            own["beside"],
            f"{own['time_ratio']:.2f}x the time, {own['peak_ratio']:.2f}x the memory",
            bar(own["time_ratio"], most=own["bar"]),
        )
        for shape, ways in results["steps"].items()
        for name, own in ways.items()
        if name != own["beside"]
    ]


def main() -> None:
    """Measure, print, write the JSON."""
    parser = options_of(__doc__, "training_steps.json", rounds=7)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--only", default="", help="ways whose name holds this, and what they stand beside")
    options = parser.parse_args()
    logging.set_verbosity_error()  # heads that are new or left out
    found = measure(options)
    for shape, ways in found["steps"].items():
        Console(width=120).print(steps_table(ways, shape))
    write_report(options, found)


if __name__ == "__main__":
    main()
