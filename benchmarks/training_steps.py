"""What a step of training costs with each technique, beside the same step without it: time and memory.

    python benchmarks/training_steps.py                    # writes benchmarks/results/training_steps.json
    python benchmarks/training_steps.py --length 32        # rows as short as headlines, adds to it
    python benchmarks/training_steps.py --mezo             # memory of MeZO beside that of inference, adds to it
    python benchmarks/training_steps.py --contrastive      # 4,096 texts: GradCache beside the whole batch, adds to it

The shipped model under `TechniqueTrainer`, fused AdamW, fp32, rows of random ids without padding. Each round takes
all ways in another order, each right after the plain one that it is compared with, three steps each, of which the
first warms up (with the gradient penalty it takes a pass more); a step lasts from the end of one to the end of the
next. No round begins after `--minutes`; the figures in docs/techniques.md are of `--minutes 30`. Ratios are medians
over rounds, peak memory is that of the tensors that a run makes above weights and the optimizer's state
(`nlpkit.probes.peak_bytes`). "Bar" is the time ratio that a technique may cost at most; "plain, as many rows as
R-Drop" is the least that a second pass of all rows can cost.

`--mezo` needs Linux: each way runs in a process of its own, and the figure is the peak of its resident memory above
that with weights and inputs. `--contrastive` takes 4,096 texts in one batch, and in micro-batches of 32.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from step_trainers import pairs, shipped, steps, trainer_of
from torch import Tensor
from tqdm import tqdm
from transformers import TrainerCallback
from transformers.utils import logging

from nlpkit import WoBertModel
from nlpkit.files import write_json
from nlpkit.losses import InfoNCELoss
from nlpkit.probes import peak_bytes
from nlpkit.training import GradCache

ROOT = Path(__file__).resolve().parent.parent


class Clock(TrainerCallback):
    """When steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **others: Any) -> None:
        """One more."""
        self.ends.append(perf_counter())

    def take(self) -> list[float]:
        """Seconds of all steps but the first, and begin anew."""
        ends, self.ends = self.ends, []
        return [end - begin for begin, end in pairwise(ends)]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak bytes of a step of each way."""
    every = steps()
    wanted = [step for step in every if options.only.lower() in step.name.lower()]
    chosen = [step for step in every if step in wanted or step.name in {other.beside for other in wanted}]
    found: dict[str, Any] = {}
    ends = perf_counter() + 60 * options.minutes
    with TemporaryDirectory() as folder:
        clocks = {step.name: Clock() for step in chosen}
        trainers = {
            step.name: trainer_of(folder, step.copies * options.rows, options.length, [clocks[step.name]], step.make())
            for step in chosen
        }
        for name, trainer in tqdm(trainers.items(), desc="measuring memory", unit="way"):
            trainer.train()  # makes the optimizer's state
            gc.collect()
            peak = peak_bytes(trainer.train, torch.device("cpu"))
            found[name] = {"peak_bytes": peak, "seconds": [], "ratios": []}
            clocks[name].take()

        def seconds_of(name: str) -> float:
            gc.collect()
            trainers[name].train()
            return median(clocks[name].take())

        for turn in tqdm(range(options.rounds), desc="measuring time", unit="round"):
            if turn and perf_counter() > ends:
                break
            for step in random.Random(turn).sample(chosen, len(chosen)):
                plain, own = seconds_of(step.beside), seconds_of(step.name)
                found[step.name]["ratios"].append(own / plain)
                found[step.name]["seconds"].append(own)
    for step in chosen:
        way = found[step.name]
        found[step.name] |= {
            "seconds": [round(seconds, 4) for seconds in way["seconds"]],
            "ratios": [round(ratio, 3) for ratio in way["ratios"]],
            "beside": step.beside,
            "time_ratio": round(median(way["ratios"]), 3),
            "peak_ratio": round(way["peak_bytes"] / found[step.beside]["peak_bytes"], 3),
            "bar": step.bar,
        }
    return found


def steps_table(found: dict[str, Any], title: str) -> Table:
    table = Table("step", "beside", "time", "time ratio", "bar", "peak ratio", title=title)
    for name, own in found.items():
        met = "" if own["bar"] is None else f"{own['bar']} {'met' if own['time_ratio'] <= own['bar'] else 'not met'}"
        time = f"{1000 * median(own['seconds']):.0f} ms"
        table.add_row(name, own["beside"], time, f"{own['time_ratio']:.2f}", met, f"{own['peak_ratio']:.2f}")
    return table


def contrastive(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a large batch, whole and in micro-batches of 32, and how far the gradients are apart."""
    ways = {"whole": 1, "cached": options.texts // 32}
    runs = {
        f"{name} {kind}": contrastive_step(options, micro_batches, dtype)
        for kind, dtype in (("fp32", torch.float32), ("fp64", torch.float64))
        for name, micro_batches in tqdm(ways.items(), desc=kind, unit="way")
    }

    def error(run: str, other: str) -> float:
        apart = (runs[run]["gradient"] - runs[other]["gradient"]).norm() / runs[other]["gradient"].norm()
        return float(f"{apart.item():.1e}")

    return {
        "texts": options.texts,
        "length": options.text_length,
        "gradient_errors": {
            "cached fp64 from whole fp64": error("cached fp64", "whole fp64"),
            "cached fp32 from whole fp32": error("cached fp32", "whole fp32"),
            "cached fp32 from whole fp64": error("cached fp32", "whole fp64"),
            "whole fp32 from whole fp64": error("whole fp32", "whole fp64"),
        },
        "peak_bytes": {name: run["peak_bytes"] for name, run in runs.items()},
        "peak_ratio": round(runs["cached fp32"]["peak_bytes"] / runs["whole fp32"]["peak_bytes"], 4),
        "seconds_while_counting_bytes": {name: run["seconds"] for name, run in runs.items()},
    }


def contrastive_step(options: argparse.Namespace, micro_batches: int, dtype: torch.dtype) -> dict[str, Any]:
    """Gradient, peak memory and time of one step."""
    model = shipped(
        WoBertModel,
        add_pooling_layer=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        dtype=dtype,
    )
    kept = GradientKeeper()
    made = {"model": model, "loss": InfoNCELoss(), "labels": pairs, "max_steps": 1, "optim": "sgd"}
    made |= {"gradient_accumulation_steps": micro_batches, "max_grad_norm": 0.0}
    made["techniques"] = [GradCache()] if micro_batches > 1 else []
    with TemporaryDirectory() as folder:
        trainer = trainer_of(folder, options.texts, options.text_length, [kept], made)
        begin = perf_counter()
        peak = peak_bytes(trainer.train, torch.device("cpu"))
        seconds = round(perf_counter() - begin, 2)
    gradient = torch.cat([gradient.flatten().double() for gradient in kept.gradients])
    return {"gradient": gradient, "peak_bytes": peak, "seconds": seconds}


class GradientKeeper(TrainerCallback):
    """The gradients of a step, as they are: no copy that would count as memory."""

    gradients: list[Tensor]

    def on_pre_optimizer_step(self, *_: Any, **others: Any) -> None:
        """Hold on to them."""
        self.gradients = [p.grad for p in others["model"].parameters() if p.grad is not None]


def mezo(options: argparse.Namespace) -> dict[str, Any]:
    """Peak of resident memory above weights and inputs, each way in a process of its own."""
    # Freed memory goes back to the system at once, so that none of it hides what comes next.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    shape = [str(size) for size in (options.layers, options.hidden, options.mezo_rows, options.mezo_length)]
    found: dict[str, Any] = {"shape": dict(zip(("layers", "hidden", "rows", "length"), map(int, shape), strict=True))}
    for way in tqdm(("inference", "MeZO", "MeZO with dropout", "AdamW"), unit="way"):
        command = [sys.executable, str(Path(__file__).with_name("resident_memory.py")), way, *shape]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    for way in ("MeZO", "MeZO with dropout", "AdamW"):
        found[way]["above_ratio"] = round(found[way]["above"] / found["inference"]["above"], 3)
        found[way]["total_ratio"] = round(found[way]["peak"] / found["inference"]["peak"], 3)
    return found


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=2.0, help="after which no further round begins")
    parser.add_argument("--only", default="", help="measures ways again whose name holds this")
    parser.add_argument("--contrastive", action="store_true")
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--text_length", type=int, default=8)
    parser.add_argument("--mezo", action="store_true")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--mezo_rows", type=int, default=16)
    parser.add_argument("--mezo_length", type=int, default=256)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "training_steps.json")
    options = parser.parse_args()
    logging.set_verbosity_error()  # heads that are new or left out

    report = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    if options.contrastive:
        report["contrastive"] = contrastive(options)
        print(json.dumps(report["contrastive"], indent=1))
    elif options.mezo:
        report["mezo"] = mezo(options)
        print(json.dumps(report["mezo"], indent=1))
    else:
        shape = f"{options.rows} rows of {options.length} tokens"
        found = measure(options)
        earlier = report.setdefault("steps", {}).get(shape, {}) if options.only else {}
        report["steps"][shape] = earlier | found
        Console(width=120).print(steps_table(found, shape))
    report["machine"] = measured_on("fp32")
    write_json(options.output, report)


if __name__ == "__main__":
    main()
