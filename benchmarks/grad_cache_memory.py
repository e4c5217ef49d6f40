"""A large contrastive batch whole and by GradCache in micro-batches of 32: memory, and how far gradients are apart.

    python benchmarks/grad_cache_memory.py                 # writes benchmarks/results/grad_cache_memory.json

The shipped model without dropout, InfoNCE over pairs, one step each in fp32 and fp64. Peak memory is that of the
tensors that a step makes (`nlpkit.probes.peak_bytes`). The committed figures are of ``--texts 4096``.
"""

from __future__ import annotations

import argparse
import json
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from report import Headline, options_of, write_report
from step_trainers import pairs, shipped, trainer_of
from torch import Tensor
from tqdm import tqdm
from transformers import TrainerCallback
from transformers.utils import logging

from nlpkit import WoBertModel
from nlpkit.losses import InfoNCELoss
from nlpkit.probes import peak_bytes
from nlpkit.training import GradCache


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a large batch, whole and in micro-batches of 32, and how far the gradients are apart."""
    ways = {"whole": 1, "cached": options.texts // 32}
    runs = {
        f"{name} {kind}": step_of(options, micro_batches, dtype)
        for kind, dtype in (("fp32", torch.float32), ("fp64", torch.float64))
        for name, micro_batches in tqdm(ways.items(), kind, unit="way")
    }

    def error(run: str, other: str) -> float:
        apart = (runs[run]["gradient"] - runs[other]["gradient"]).norm() / runs[other]["gradient"].norm()
        return float(f"{apart.item():.1e}")

    return {
        "texts": options.texts,
        "length": options.length,
        "gradient_errors": {
            "cached fp64 from whole fp64": error("cached fp64", "whole fp64"),
            "cached fp32 from whole fp32": error("cached fp32", "whole fp32"),
            "cached fp32 from whole fp64": error("cached fp32", "whole fp64"),
            "whole fp32 from whole fp64": error("whole fp32", "whole fp64"),
        },
        "peak_bytes": {name: run["peak_bytes"] for name, run in runs.items()},
        "seconds_while_counting_bytes": {name: run["seconds"] for name, run in runs.items()},
        "peak_ratio": round(runs["cached fp32"]["peak_bytes"] / runs["whole fp32"]["peak_bytes"], 4),
    }


def step_of(options: argparse.Namespace, micro_batches: int, dtype: torch.dtype) -> dict[str, Any]:
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
        trainer = trainer_of(folder, options.texts, options.length, [kept], made)
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


def headlines(results: dict[str, Any]) -> list[Headline]:
    what = f"GradCache, {results['texts']:,} texts of {results['length']} tokens in micro-batches of 32"
    error = results["gradient_errors"]["cached fp64 from whole fp64"]
    figure = f"{results['peak_ratio']:.2f}x the memory, gradient to {error:.0e} in fp64"
    return [Headline(what, "the whole batch", figure)]


def main() -> None:
    parser = options_of(__doc__, "grad_cache_memory.json", rounds=None, bf16=False)
    parser.add_argument("--texts", type=int, default=2048)
    parser.add_argument("--length", type=int, default=8)
    options = parser.parse_args()
    logging.set_verbosity_error()  # heads that are new or left out
    found = measure(options)
    print(json.dumps(found, indent=1))
    write_report(options, found, "fp32 and fp64")


if __name__ == "__main__":
    main()
