"""What a step of TeaForN costs beside teacher forcing, and its rivals: time and saved activations.

    python benchmarks/teaforn_step.py                      # writes benchmarks/results/teaforn_step.json

A T5 of mT5-small's shape with the vocabulary of a pruned one, 32,598 rows, random weights and random tokens: sources
of 256 tokens, targets of 32, `TechniqueSeq2SeqTrainer` with fused AdamW, in the arithmetic that is fast here. Each
round takes three steps of all ways, in another order, of which the first warms up. Ratios are of the fastest rounds,
by the clock and by the processor's time, which other work on the machine changes less; operations are those of matrix
products, forward and backward, which nothing changes. Those of ``--only levels --rows 4`` on
a processor with AMX are committed as ``teaforn_step_amx.json``. Saved
activations are what the loss keeps for its backward pass, weights and inputs left out
(`nlpkit.probes.saved_activation_bytes`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
from report import Headline, bar, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, StepClock, Taken, take_turns
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import PrinterCallback, Seq2SeqTrainingArguments, T5Config, T5ForConditionalGeneration

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.probes import saved_activation_bytes
from nlpkit.teaforn import EmbeddingMixture, MultiToken, RandomReplacement, ScheduledSampling, TeaForN
from nlpkit.training import Batch, Items, Run, Technique, fast_attention

PLAIN = "teacher forcing"
STEPS = 3
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
    clock = StepClock()
    trainer = TechniqueSeq2SeqTrainer(model, arguments, train_dataset=rows, techniques=techniques, callbacks=[clock])
    trainer.remove_callback(PrinterCallback)
    return trainer, clock


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios and bytes of each way, and how many rounds there were."""
    found: dict[str, Any] = {}

    def steps_of(trainer: Any, clock: StepClock) -> Taken:
        with fast_attention(trainer.model):
            trainer.train()
        return clock.take()

    with TemporaryDirectory() as folder:
        made = {}
        chosen = [name for name in WAYS if name == PLAIN or options.only in name]
        for name in tqdm(chosen, "counting", unit="way"):
            techniques, time_bar, saved_bar = WAYS[name]
            kept = Kept()
            trainer_of(folder, options, [kept, *techniques()], 1)[0].train()
            made[name] = partial(steps_of, *trainer_of(folder, options, techniques(), STEPS))
            bars = {"time_bar": time_bar, "saved_bar": saved_bar}
            found[name] = {"saved": kept.saved, "flops": kept.flops} | bars
        turns = take_turns(
            made, options.rounds, Budget(options.budget), "measuring time", shuffled=True, warm_up=False
        )
    plain = turns.fastest(PLAIN)
    for name, way in found.items():
        for kind, place in (("time", 0), ("cpu", 1)):
            way[kind] = [round(taken[place], 4) for taken in turns.taken[name]]
            way[f"{kind}_ratio"] = round(turns.fastest(name)[place] / plain[place], 3)
        way |= {f"{kind}_ratio": round(way[kind] / found[PLAIN][kind], 3) for kind in ("saved", "flops")}
    return {**turns.facts(), "steps": found}


def headlines(results: dict[str, Any]) -> list[Headline]:
    rows = []
    for name, way in results["steps"].items():
        if name != PLAIN:
            bars = [bar(way["time_ratio"], most=way["time_bar"]), bar(way["saved_ratio"], most=way["saved_bar"])]
            asked = [f"{kind} {each}" for kind, each in zip(("time", "memory"), bars, strict=True) if each]
            figure = f"{way['time_ratio']:.2f}x the time, {way['saved_ratio']:.2f}x the saved activations"
            rows.append(Headline(f"training step of mT5-small's shape: {name}", PLAIN, figure, ", ".join(asked)))
    return rows


def main() -> None:
    """Measure, print, write the JSON."""
    parser = options_of(__doc__, "teaforn_step.json", rounds=3)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--source", type=int, default=256)
    parser.add_argument("--target", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=32_598)
    parser.add_argument("--only", default="", help="teacher forcing, and ways whose name holds this")
    options = parser.parse_args()
    found = measure(options)
    table = Table("step", "time", "cpu time", "operations", "bar", "saved activations", "bar")
    for name, way in found["steps"].items():
        bars = [f"{way[bar]:g}" if way[bar] else "" for bar in ("time_bar", "saved_bar")]
        ratios = [f"{way[f'{kind}_ratio']:.2f}" for kind in ("time", "cpu", "flops", "saved")]
        table.add_row(name, *ratios[:3], bars[0], ratios[3], bars[1])
    Console(width=120).print(table)
    settings = ("rows", "source", "target", "layers", "width", "heads", "vocabulary", "bf16")
    write_report(options, {"settings": {name: getattr(options, name) for name in settings}, **found})


if __name__ == "__main__":
    main()
