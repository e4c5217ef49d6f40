"""Fine-tuning a BERT through, beside, and without running it: memory and time, all measured side by side in one run.

    python benchmarks/ladder_side_tuning.py                # 12 layers of width 256, batch 16 x 128; needs peft
    python benchmarks/ladder_side_tuning.py --hidden 768   # BERT's own shape

Prints two tables and writes benchmarks/results/ladder_side_tuning.json: the cost of a step for each way of training
(`nlpkit.probes.profile_tuning`), and the time of an epoch with taps kept on disk against epochs of the others. Times
are medians over rounds in turns; only ratios mean anything. Committed are those of the
defaults, of ``--no-bf16 --rows 160`` and of ``--bf16 --hidden 768 --rows 96 --rounds 3 --budget 600``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, Turns, take_turns
from transformers import BertConfig, BertForSequenceClassification

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, ladder_ways
from nlpkit.probes import TuningProfile, lora, profile_table, profile_tuning, standard_ways


def make_model(options: argparse.Namespace) -> Any:
    """A BERT of the asked-for shape, with a head of two classes."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=21128,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        intermediate_size=4 * options.hidden,
    )
    return BertForSequenceClassification(config).to(options.device)


def make_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Random texts of the full length: all that matters for time is how many tokens there are."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(200, 21128, (options.rows, options.length), generator=generator)
    return [{"input_ids": row, "labels": number % 2} for number, row in enumerate(ids)]


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one length need no padding."""
    ids = torch.stack([row["input_ids"] for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def ladder_with_attention_dropout(model: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
    """The paper's ladder, which drops out attention maps as the backbone does in its own training."""
    return get_ladder_model(model, LadderConfig(reduction=8, layers=0.75, attention_dropout=0.1)), {}


class Epochs:
    """The epochs to be timed: each trains, or runs, over all rows in batches."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.rows = make_rows(options)
        self.plain = make_model(options).eval()
        self.full = make_model(options).train()
        self.lora = lora(make_model(options), {})[0].train()
        self.ladder = self._ladder()
        self.cached = self._ladder()
        self.caches = 0

    def _ladder(self) -> LadderModel:
        kept = self.options.layers * 3 // 4
        return get_ladder_model(make_model(self.options), LadderConfig(reduction=8, layers=kept)).train()

    def calls(self) -> dict[str, Callable[[], None]]:
        """What is timed, by name; the cache comes before what reads it."""
        return {
            "forward only": self.run,
            "caching the taps": self.fill,
            "ladder, taps cached": lambda: self.train(self.cached),
            "ladder": lambda: self.train(self.ladder),
            "LoRA": lambda: self.train(self.lora),
            "full": lambda: self.train(self.full),
        }

    def batches(self) -> list[dict[str, Any]]:
        """All rows, in batches on the device."""
        size = self.options.batch
        return [
            {name: value.to(self.options.device) for name, value in collate(self.rows[start : start + size]).items()}
            for start in range(0, len(self.rows), size)
        ]

    def autocast(self) -> Any:
        """The precision that everything is computed in."""
        return torch.autocast(torch.device(self.options.device).type, torch.bfloat16, enabled=self.options.bf16)

    @torch.no_grad()
    def run(self) -> None:
        """Only the backbone, without gradients."""
        for batch in self.batches():
            with self.autocast():
                self.plain(**batch)

    def train(self, model: Any) -> None:
        """An epoch of training."""
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
        for batch in self.batches():
            with self.autocast():
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def fill(self) -> None:
        """The epoch that keeps the taps."""
        self.caches += 1
        self.cached.use_tap_cache(None)
        with self.autocast():
            cache = self.cached.cache_taps(
                self.rows,
                self.folder / str(self.caches),
                collate,
                batch_size=self.options.batch,
                show_progress=False,
            )
        self.cached.use_tap_cache(cache)


def time_epochs(options: argparse.Namespace) -> Turns:
    """Seconds of each epoch, in turns."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return take_turns(
            Epochs(options, Path(folder)).calls(), options.rounds, Budget(options.budget), "timing epochs"
        )


def ratios_of(steps: dict[str, TuningProfile], epochs: dict[str, float]) -> dict[str, float]:
    """What the page quotes."""
    ladder, dropping, full, lora_step = (
        steps[name] for name in ("ladder", "ladder, attention dropout", "full", "LoRA")
    )
    found = {
        "activations, ladder / full": ladder.activation_bytes / full.activation_bytes,
        "activations, ladder with attention dropout / full": dropping.activation_bytes / full.activation_bytes,
        "activations, LoRA / full": lora_step.activation_bytes / full.activation_bytes,
        "step, ladder / full": ladder.step_seconds / full.step_seconds,
        "step, ladder / LoRA": ladder.step_seconds / lora_step.step_seconds,
        "peak, ladder / full": ladder.peak_bytes / full.peak_bytes,
        "peak, LoRA / full": lora_step.peak_bytes / full.peak_bytes,
        "epoch, LoRA / cached ladder": epochs["LoRA"] / epochs["ladder, taps cached"],
        "epoch, full / cached ladder": epochs["full"] / epochs["ladder, taps cached"],
        "epoch, caching / forward only": epochs["caching the taps"] / epochs["forward only"],
    }
    return {name: round(ratio, 3) for name, ratio in found.items()}


def headlines(results: dict[str, Any]) -> list[Headline]:
    shape, ratios = results["shape"], results["ratios"]
    what = f"{shape['layers']} layers of {shape['hidden']}, {shape['batch']} rows of {shape['length']} tokens"
    activations, step = ratios["activations, ladder / full"], ratios["step, ladder / full"]
    return [
        Headline(f"step with a ladder, {what}", "full fine-tuning",
                 f"{activations:.2f}x the saved activations, {step:.2f}x the time"),
        Headline(f"step with a ladder, {what}", "LoRA",
                 f"{activations / ratios['activations, LoRA / full']:.2f}x the saved activations, "
                 f"{ratios['step, ladder / LoRA']:.2f}x the time"),
        *(Headline(f"epoch of a ladder from kept taps, {what}", name,
                   f"{ratios[f'epoch, {key} / cached ladder']:.1f}x as fast")
          for key, name in (("full", "full fine-tuning"), ("LoRA", "LoRA"))),
    ]  # fmt: skip


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = options_of(__doc__, "ladder_side_tuning.json", rounds=5)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rows", type=int, default=64, help="texts of an epoch")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", help="where to keep taps while measuring; the system's temporary one by default")
    options = parser.parse_args()

    batch = {name: value.to(options.device) for name, value in collate(make_rows(options)[: options.batch]).items()}
    dtype = torch.bfloat16 if options.bf16 else None
    ways = standard_ways() | ladder_ways() | {"ladder, attention dropout": ladder_with_attention_dropout}
    profiles = profile_tuning(make_model(options), batch, ways=ways, rounds=min(3, options.rounds), autocast=dtype)
    Console().print(profile_table(profiles))
    turns = time_epochs(options)
    epochs = turns.medians()
    title = f"{options.rows} rows of {options.length} tokens"
    table = Table("epoch", "time / full", "time / cached ladder", title=title)
    for name, time in epochs.items():
        table.add_row(name, f"{time / epochs['full']:.3f}", f"{time / epochs['ladder, taps cached']:.2f}")
    Console().print(table)
    found = {
        "shape": {name: getattr(options, name) for name in ("hidden", "layers", "batch", "length", "rows", "bf16")},
        **turns.facts(),
        "ratios": ratios_of({profile.way: profile for profile in profiles}, epochs),
        "steps": [asdict(profile) for profile in profiles],
        "epoch_seconds": {name: [round(time, 4) for time in turns.clock(name)] for name in epochs},
    }
    for name, ratio in found["ratios"].items():
        print(f"{name:50} {ratio:.3f}")
    write_report(options, found, "", "peft")


if __name__ == "__main__":
    main()
