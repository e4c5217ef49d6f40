"""How the scale of last hidden states decides what a new head learns: one tagger, its states multiplied by turns.

    python recipes/pfr_entities.py pfr-199801.tagged.utf8.xz data/pfr-entities
    python benchmarks/state_scale.py                       # writes benchmarks/results/state_scale.json

The shipped model's last LayerNorm is multiplied, which changes nothing but the scale of what heads read. Same seeds,
texts, order and rates; the figures are means of the loss over the last ten of 90 steps.
"""

from __future__ import annotations

import argparse
import json
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm
from transformers import DataCollatorForTokenClassification, get_linear_schedule_with_warmup

from nlpkit import WoBertTokenizer, model_path
from nlpkit.wobert import last_state_rms
from recipes.character_tagging import TaggingArguments, read_part, tag_tokens

TEXTS, LONGEST, ROWS, STEPS, RATE = 600, 60, 16, 90, 5e-4


def last_loss(scale: float, seed: int, file: str) -> tuple[float, float]:
    """Loss of the last ten steps, and the root mean square of the states before the first."""
    folder = str(model_path("wobert-mini-zh"))
    tokenizer = WoBertTokenizer.from_pretrained(folder)
    texts = [text for text in read_part(file, tokenizer, 512) if len(text["text"]) < LONGEST][:TEXTS]
    torch.manual_seed(seed)
    settings = TaggingArguments(train_file=file, dev_file=file, test_file=file, classify="tokens")
    model, _, datasets, _ = tag_tokens(folder, tokenizer, {"train": texts}, settings)
    with torch.no_grad():
        for parameter in model.bert.encoder.layer[-1].output.LayerNorm.parameters():
            parameter.mul_(scale)
    rows: list[dict[str, Any]] = [
        {name: row[name] for name in ("input_ids", "attention_mask", "labels")} for row in datasets["train"]
    ]
    collate = DataCollatorForTokenClassification(tokenizer)
    rms = last_state_rms(model, [dict(collate(rows[:64]))])
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, STEPS // 9, STEPS)
    losses: list[float] = []
    turns = cycle(rows)
    for _ in range(STEPS):
        loss = model(**collate(list(islice(turns, ROWS)))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return mean(losses[-10:]), rms


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", default="data/pfr-entities/train.jsonl")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "state_scale.json")
    arguments = parser.parse_args()
    found: dict[float, list[float]] = {scale: [] for scale in arguments.scales}
    sizes: dict[float, float] = {}
    for seed, scale in tqdm([(seed, scale) for seed in arguments.seeds for scale in arguments.scales], unit="run"):
        loss, sizes[scale] = last_loss(scale, seed, arguments.train_file)
        found[scale].append(loss)
    rows = []
    for scale, losses in found.items():
        spread = stdev(losses) if len(losses) > 1 else 0.0
        rows.append(
            {"scale": scale, "rms": round(sizes[scale], 4), "loss": round(mean(losses), 4), "std": round(spread, 4)}
        )
    table = Table("states times", "their RMS", "loss of the last ten steps", title="wobert-mini-zh, token tagging")
    for row in rows:
        table.add_row(f"{row['scale']:g}", f"{row['rms']:.3f}", f"{row['loss']:.3f} ± {row['std']:.3f}")
    Console().print(table)
    arguments.out.write_text(json.dumps({"seeds": arguments.seeds, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
