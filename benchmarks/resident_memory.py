"""One way to run or train a random BERT, and the most memory that it has resident; run by ``training_steps.py``."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from step_trainers import trainer_of
from transformers import BertConfig, BertForSequenceClassification

from nlpkit import TechniqueTrainer
from nlpkit.training import MeZO


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


def resident(field: str) -> int:
    """Bytes that the process has resident now (``VmRSS``), or has had at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(way: str, *shape: str) -> None:
    """Print one line of JSON."""
    with TemporaryDirectory() as folder:
        for each in ("inference", "MeZO"):  # all that is loaded at first use, by all ways
            run(trainer(folder, each, 1, 64, 2, 8), each)
        measured = trainer(folder, way, *map(int, shape))
        measured.args.per_device_eval_batch_size = measured.args.per_device_train_batch_size
        gc.collect()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forgets the most that was resident
        run(measured, way)
        peak = resident("VmHWM")
    print(json.dumps({"before": before, "peak": peak, "above": peak - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
