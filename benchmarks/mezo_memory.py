"""Memory of a step of MeZO beside that of inference and of AdamW, on a random BERT.

    python benchmarks/mezo_memory.py                       # writes benchmarks/results/mezo_memory.json

Needs Linux: each way runs in a process of its own, and the figure is the peak of its resident memory above that with
weights and inputs, in fp32. The committed figures are of ``--rows 16 --length 256``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

import torch
from report import Headline, options_of, write_report
from resident_memory import peak_of
from step_trainers import trainer_of
from tqdm import tqdm
from transformers import BertConfig, BertForSequenceClassification

from nlpkit import TechniqueTrainer
from nlpkit.training import MeZO

WAYS = ("inference", "MeZO", "MeZO with dropout", "AdamW")
SHAPE = ("layers", "hidden", "rows", "length")


def trainer(folder: str, way: str, layers: int, hidden: int, rows: int, length: int) -> TechniqueTrainer:
    dropout = 0.1 if way == "MeZO with dropout" else 0.0
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=21128,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    made: dict[str, Any] = {"model": BertForSequenceClassification(config), "max_steps": 2}
    if way.startswith("MeZO"):
        made |= {"techniques": [MeZO()], "optim": "sgd"}
    return trainer_of(folder, rows, length, [], made)


def run(trained: TechniqueTrainer, way: str) -> None:
    """Two batches."""
    if way == "inference":
        trained.predict(trained.train_dataset)
    else:
        trained.train()


def measure_here(way: str, *shape: int) -> None:
    """Print one line of JSON."""
    with TemporaryDirectory() as folder:
        for each in ("inference", "MeZO"):  # all that is loaded at first use, by all ways
            run(trainer(folder, each, 1, 64, 2, 8), each)
        measured = trainer(folder, way, *shape)
        measured.args.per_device_eval_batch_size = measured.args.per_device_train_batch_size
        print(json.dumps(peak_of(lambda: run(measured, way))))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Peak of resident memory above weights and inputs, each way in a process of its own."""
    # Freed memory goes back to the system at once, so that none of it hides what comes next.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found: dict[str, Any] = {"shape": {name: getattr(options, name) for name in SHAPE}}
    shape = [word for name in SHAPE for word in (f"--{name}", str(getattr(options, name)))]
    for way in tqdm(WAYS, unit="way"):
        command = [sys.executable, __file__, "--way", way, *shape]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    for way in WAYS[1:]:
        found[way]["above_ratio"] = round(found[way]["above"] / found["inference"]["above"], 3)
        found[way]["total_ratio"] = round(found[way]["peak"] / found["inference"]["peak"], 3)
    return found


def headlines(results: dict[str, Any]) -> list[Headline]:
    shape = results["shape"]
    what = f"{shape['layers']} layers of {shape['hidden']}, {shape['rows']} rows of {shape['length']} tokens"
    return [
        Headline(f"resident memory of {way}, {what}", "inference", f"{results[way]['total_ratio']:.2f}x")
        for way in WAYS[1:]
    ]


def main() -> None:
    parser = options_of(__doc__, "mezo_memory.json", rounds=None, bf16=False)
    for name, size in zip(SHAPE, (12, 768, 8, 128), strict=True):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure_here(options.way, *(getattr(options, name) for name in SHAPE))
        return
    found = measure(options)
    print(json.dumps(found, indent=1))
    write_report(options, found, "fp32")


if __name__ == "__main__":
    main()
