"""Fine-tuning a BERT through, beside, and without running it: memory and time, all measured side by side in one run.

    python benchmarks/ladder_side_tuning.py                # 12 layers of width 256, batch 16 x 128; needs peft
    python benchmarks/ladder_side_tuning.py --hidden 768   # BERT's own shape

Prints two tables and writes benchmarks/results/ladder_side_tuning.json: the cost of a step for each way of training
(`nlpkit.probes.profile_tuning`), and the time of an epoch with taps kept on disk against epochs of the others. Times
are medians over rounds in turns; only ratios mean anything.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import measured_on
from rich.console import Console
from rich.table import Table
from tqdm import tqdm
from transformers import BertConfig, BertForSequenceClassification

from nlpkit.files import write_json
from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model, ladder_ways
from nlpkit.probes import lora, profile_table, profile_tuning, standard_ways

ROOT = Path(__file__).resolve().parent.parent


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


def time_epochs(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each epoch, in turns."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        timed = Epochs(options, Path(folder)).calls()
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for turn in tqdm(range(options.rounds + 1), desc="timing epochs", unit="round"):
            for name, call in timed.items():
                gc.collect()
                begin = perf_counter()
                call()
                if torch.device(options.device).type == "cuda":
                    torch.cuda.synchronize()
                seconds[name] += [perf_counter() - begin] if turn else []  # the first turn warms up
    return seconds


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rows", type=int, default=160, help="texts of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="compute everything in bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", help="where to keep taps while measuring; the system's temporary one by default")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "ladder_side_tuning.json")
    options = parser.parse_args()

    batch = {name: value.to(options.device) for name, value in collate(make_rows(options)[: options.batch]).items()}
    dtype = torch.bfloat16 if options.bf16 else None
    ways = standard_ways() | ladder_ways() | {"ladder, attention dropout": ladder_with_attention_dropout}
    profiles = profile_tuning(make_model(options), batch, ways=ways, rounds=options.rounds, autocast=dtype)
    Console().print(profile_table(profiles))
    seconds = time_epochs(options)
    medians = {name: median(times) for name, times in seconds.items()}
    cached = medians["ladder, taps cached"]
    table = Table(
        "epoch", "time / full", "time / cached ladder", title=f"{options.rows} rows of {options.length} tokens"
    )
    for name, time in medians.items():
        table.add_row(name, f"{time / medians['full']:.3f}", f"{time / cached:.2f}")
    Console().print(table)
    steps = {profile.way: profile for profile in profiles}
    report = {
        "shape": {name: getattr(options, name) for name in ("hidden", "layers", "batch", "length", "rows", "bf16")},
        "ratios": {
            "activations, ladder / full": steps["ladder"].activation_bytes / steps["full"].activation_bytes,
            "activations, ladder with attention dropout / full": (
                steps["ladder, attention dropout"].activation_bytes / steps["full"].activation_bytes
            ),
            "activations, LoRA / full": steps["LoRA"].activation_bytes / steps["full"].activation_bytes,
            "step, ladder / full": steps["ladder"].step_seconds / steps["full"].step_seconds,
            "step, ladder / LoRA": steps["ladder"].step_seconds / steps["LoRA"].step_seconds,
            "peak, ladder / full": steps["ladder"].peak_bytes / steps["full"].peak_bytes,
            "peak, LoRA / full": steps["LoRA"].peak_bytes / steps["full"].peak_bytes,
            "epoch, LoRA / cached ladder": medians["LoRA"] / cached,
            "epoch, full / cached ladder": medians["full"] / cached,
            "epoch, caching / forward only": medians["caching the taps"] / medians["forward only"],
        },
        "steps": [asdict(profile) for profile in profiles],
        "epoch_seconds": {name: [round(time, 4) for time in times] for name, times in seconds.items()},
        "machine": measured_on("bf16" if options.bf16 else "fp32", "peft"),
    }
    report["ratios"] = {name: round(ratio, 3) for name, ratio in report["ratios"].items()}  # type: ignore[attr-defined]
    for name, ratio in report["ratios"].items():  # type: ignore[attr-defined]
        print(f"{name:50} {ratio:.3f}")
    write_json(options.output, report)


if __name__ == "__main__":
    main()
