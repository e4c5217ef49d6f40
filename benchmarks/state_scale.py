"""How the scale of last hidden states decides what a new head learns: one tagger, its states multiplied by turns.

    python recipes/pfr_entities.py pfr-199801.tagged.utf8.xz data/pfr-entities
    python benchmarks/state_scale.py                       # writes benchmarks/results/state_scale.json

The shipped model's last LayerNorm is multiplied, which changes nothing but the scale of what heads read. Same seeds,
texts, order and rates; a round is a seed, and the figures are means of the loss over the last ten of 90 steps. The
committed figures are of ``--no-bf16 --budget 1200``.
"""

from __future__ import annotations

from functools import partial
from itertools import cycle, islice
from statistics import mean, stdev
from typing import Any

import torch
from machine import arithmetic
from report import Headline, options_of, write_report
from rich.console import Console
from rich.table import Table
from rounds import Budget, take_turns
from transformers import DataCollatorForTokenClassification, get_linear_schedule_with_warmup

from nlpkit import WoBertTokenizer, model_path
from nlpkit.labels import align_labels, spans_to_bio
from nlpkit.tasks.entities import read_entities
from nlpkit.wobert import WoBertForTokenClassification, last_state_rms

TEXTS, LONGEST, ROWS, STEPS, RATE = 600, 60, 16, 90, 5e-4


def last_loss(scale: float, seed: int, file: str, bf16: bool) -> tuple[float, float]:
    """Loss of the last ten steps, and the root mean square of the states before the first."""
    folder = str(model_path("wobert-mini-zh"))
    tokenizer = WoBertTokenizer.from_pretrained(folder)
    texts = [text for text in read_entities(file) if len(text["text"]) < LONGEST][:TEXTS]
    torch.manual_seed(seed)
    names = ["O", *(f"{prefix}-{kind}" for kind in ("LOC", "ORG", "PER") for prefix in "BI")]
    model = WoBertForTokenClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.bert.encoder.layer[-1].output.LayerNorm.parameters():
            parameter.mul_(scale)
    rows = [labelled_tokens(text, tokenizer, names) for text in texts]
    collate = DataCollatorForTokenClassification(tokenizer)
    rms = last_state_rms(model, [dict(collate(rows[:64]))])
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, STEPS // 9, STEPS)
    losses: list[float] = []
    turns = cycle(rows)
    for _ in range(STEPS):
        with arithmetic(bf16):
            loss = model(**collate(list(islice(turns, ROWS)))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return mean(losses[-10:]), rms


def labelled_tokens(example: dict[str, Any], tokenizer: WoBertTokenizer, names: list[str]) -> dict[str, Any]:
    """Token ids with one label per token."""
    encoded = tokenizer(example["text"], return_offsets_mapping=True, return_token_type_ids=False)
    labels, _ = align_labels(spans_to_bio(example["spans"], len(example["text"])), encoded.pop("offset_mapping"))
    return {**encoded, "labels": [-100 if label is None else names.index(label) for label in labels]}


def headlines(results: dict[str, Any]) -> list[Headline]:
    own = next(row for row in results["rows"] if row["scale"] == 1)
    return [
        Headline(
            f"loss of a new head, last states times {row['scale']:g} (RMS {row['rms']:.2f})",
            "the states as they are",
            f"{row['loss']:.3f} ± {row['std']:.3f} / {own['loss']:.3f} ± {own['std']:.3f}",
        )
        for row in results["rows"]
        if row is not own
    ]


def main() -> None:
    """Measure, print and save."""
    parser = options_of(__doc__, "state_scale.json", rounds=5)
    parser.add_argument("--train_file", default="data/pfr-entities/train.jsonl")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0, 2.0])
    options = parser.parse_args()
    losses: dict[float, list[float]] = {scale: [] for scale in options.scales}
    sizes: dict[float, float] = {}

    def train(scale: float) -> None:
        loss, sizes[scale] = last_loss(scale, len(losses[scale]), options.train_file, options.bf16)
        losses[scale].append(loss)

    calls = {f"{scale:g}": partial(train, scale) for scale in losses}
    turns = take_turns(calls, options.rounds, Budget(options.budget), "training", warm_up=False)
    rows = []
    for scale, found in losses.items():
        spread = stdev(found) if len(found) > 1 else 0.0
        rows.append(
            {"scale": scale, "rms": round(sizes[scale], 4), "loss": round(mean(found), 4), "std": round(spread, 4)}
        )
    table = Table("states times", "their RMS", "loss of the last ten steps", title="wobert-mini-zh, token tagging")
    for row in rows:
        table.add_row(f"{row['scale']:g}", f"{row['rms']:.3f}", f"{row['loss']:.3f} ± {row['std']:.3f}")
    Console().print(table)
    write_report(options, {"seeds": list(range(turns.rounds)), "rows": rows})


if __name__ == "__main__":
    main()
