"""A small Trainer for tests of techniques, and a run that is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForTokenClassification, TrainingArguments

from nlpkit import TechniqueTrainer
from nlpkit.training import Technique
from tests.contract.cases import pad_tokens, small_config, tagged_rows


def small_model(cls: Any = BertForTokenClassification, **settings: Any) -> Any:
    torch.manual_seed(0)
    return cls(BertConfig(**small_config(**settings)))


def trainer(
    folder: Path, techniques: Sequence[Technique] = (), model: nn.Module | None = None, steps: int = 4,
    rows: Any = tagged_rows, options: Any = None, **settings: Any,
) -> TechniqueTrainer:  # fmt: skip
    """A Trainer of eight rows in steps of two, with what ``settings`` change."""
    usual = {
        "max_steps": steps,
        "learning_rate": 0.01,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "no",
    }
    return TechniqueTrainer(
        small_model() if model is None else model,
        TrainingArguments(str(folder), **(usual | settings)),
        train_dataset=rows(),
        eval_dataset=rows(),
        data_collator=lambda batch: pad_tokens(batch, None),
        techniques=techniques,
        **(options or {}),
    )


def whole_and_resumed(
    folder: Path, techniques: Callable[[], Sequence[Technique]], **settings: Any
) -> tuple[TechniqueTrainer, TechniqueTrainer]:
    """A run of four steps, and one that goes on from its second."""
    settings = {"model": None, "save_strategy": "steps", "save_steps": 2} | settings
    make = settings.pop("model") or small_model
    whole = trainer(folder / "whole", techniques(), make(), **settings)
    whole.train()
    (folder / "whole" / "checkpoint-2").rename(folder / "checkpoint-2")
    again = trainer(folder / "again", techniques(), make(), **settings)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    return whole, again


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())
