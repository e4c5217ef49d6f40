"""What a step of TeaForN costs beside teacher forcing, and its rivals: time and saved activations.

    python benchmarks/teaforn_step.py                      # writes benchmarks/results/teaforn_step.json

A T5 of mT5-small's shape with the vocabulary of a pruned one, 32,598 rows, random weights and random tokens: sources
of 256 tokens, targets of 32, `TechniqueSeq2SeqTrainer` with fused AdamW, in the arithmetic that is fast here. Each
round takes four steps of all ways, in another order, of which the first warms up. Ratios are of the fastest steps, by
the clock and by the processor's time, which other work on the machine changes less; operations are those of matrix
products, forward and backward, which nothing changes. Saved activations are what the loss keeps for its backward pass,
weights and inputs left out (`nlpkit.probes.saved_activation_bytes`).
"""

from __future__ import annotations

import argparse
import gc
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    PrinterCallback,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    TrainerCallback,
)

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.files import write_json
from nlpkit.probes import saved_activation_bytes
from nlpkit.teaforn import EmbeddingMixture, MultiToken, RandomReplacement, ScheduledSampling, TeaForN
from nlpkit.training import Batch, Items, Run, Technique, bf16_is_fast, fast_attention

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "teacher forcing"
#: Techniques by name, with the most that their time and their saved activations may be of teacher forcing's.
WAYS: dict[str, tuple[Callable[[], list[Technique]], float | None, float | None]] = {
    PLAIN: (list, None, None),
    "TeaForN, 2 levels": (lambda: [TeaForN(levels=2)], 1.7, None),
    "TeaForN, 3 levels": (lambda: [TeaForN(levels=3)], 2.4, None),
    "TeaForN, 3 levels, recomputed": (lambda: [TeaForN(levels=3, recompute=True)], None, 1.3),
    "TeaForN, mixtures of 4": (lambda: [TeaForN(levels=2, feed=EmbeddingMixture())], None, None),
    "scheduled sampling": (lambda: [ScheduledSampling()], None, None),
    "random replacement": (lambda: [RandomReplacement()], None, None),
    "two tokens at once": (lambda: [MultiToken(tokens=2)], None, None),
}


class Clock(TrainerCallback):
    """When steps end, by the clock and by the processor's."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, *_: Any, **others: Any) -> None:
        """One more."""
        self.ends.append((perf_counter(), process_time()))

    def take(self) -> list[tuple[float, float]]:
        """Seconds of each step but the first, by both; and begin anew."""
        ends, self.ends = self.ends, []
        return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(ends)]


class Kept(Technique):
    """Counts what the loss of a micro-batch keeps, and the operations of its passes."""

    saved = flops = 0

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """A pass that is counted, and the step's own."""
        self.saved = saved_activation_bytes(model, lambda: run.loss(batch))
        with FlopCounterMode(display=False) as counted:
            loss = run(batch)
        self.flops = counted.get_total_flops()
        return loss


def trainer_of(folder: str, options: argparse.Namespace, techniques: list[Technique], steps: int) -> Any:
    """A Trainer of a few steps on rows without padding."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=options.vocabulary,
        d_model=options.width,
        d_kv=64,
        d_ff=2 * options.width,
        num_layers=options.layers,
        num_heads=options.heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    ids = torch.randint(5, options.vocabulary, (options.rows * steps, options.source + options.target))
    rows = [{"input_ids": row[: options.source], "labels": row[options.source :]} for row in ids]
    arguments = Seq2SeqTrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=options.rows,
        optim="adamw_torch_fused",
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        bf16=options.bf16,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = TechniqueSeq2SeqTrainer(model, arguments, train_dataset=rows, techniques=techniques, callbacks=[clock])
    trainer.remove_callback(PrinterCallback)
    return trainer, clock


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios and bytes of each way."""
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        made = {}
        for name, (techniques, time_bar, saved_bar) in WAYS.items():
            if options.only and name != PLAIN and options.only not in name:
                continue
            kept = Kept()
            trainer_of(folder, options, [kept, *techniques()], 1)[0].train()
            made[name] = trainer_of(folder, options, techniques(), 4)
            bars = {"time_bar": time_bar, "saved_bar": saved_bar}
            found[name] = {"saved": kept.saved, "flops": kept.flops, "time": [], "cpu": []} | bars
        for turn in range(options.rounds):
            for name in random.Random(turn).sample(list(made), len(made)):
                trainer, clock = made[name]
                gc.collect()
                with fast_attention(trainer.model):
                    trainer.train()
                for by_clock, by_processor in clock.take():
                    found[name]["time"].append(round(by_clock, 4))
                    found[name]["cpu"].append(round(by_processor, 4))
    for way in found.values():
        for kind in ("time", "cpu") if options.rounds else ():
            way[f"{kind}_ratio"] = round(min(way[kind]) / min(found[PLAIN][kind]), 3)
        way |= {f"{kind}_ratio": round(way[kind] / found[PLAIN][kind], 3) for kind in ("saved", "flops")}
    return found


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--source", type=int, default=256)
    parser.add_argument("--target", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=32_598)
    parser.add_argument("--rounds", type=int, default=3, help="0 counts, and takes no time")
    parser.add_argument("--only", default="", help="teacher forcing, and ways whose name holds this")
    parser.add_argument("--bf16", type=lambda text: text == "true", default=bf16_is_fast())
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "teaforn_step.json")
    options = parser.parse_args()
    found = measure(options)
    table = Table("step", "time", "cpu time", "operations", "bar", "saved activations", "bar")
    for name, way in found.items():
        bars = [f"{way[bar]:g}" if way[bar] else "" for bar in ("time_bar", "saved_bar")]
        ratios = [f"{way.get(f'{kind}_ratio', float('nan')):.2f}" for kind in ("time", "cpu", "flops", "saved")]
        table.add_row(name, *ratios[:3], bars[0], ratios[3], bars[1])
    Console(width=120).print(table)
    settings = {name: value for name, value in vars(options).items() if name not in ("output", "only")}
    report = {"settings": settings, "steps": found, "machine": measured_on("bf16" if options.bf16 else "fp32")}
    write_json(options.output, report)


if __name__ == "__main__":
    main()
