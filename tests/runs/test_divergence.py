"""A training that ends in weights which are no numbers ends in an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from nlpkit.runs import RefuseDivergence


class Squares(nn.Module):
    """Diverges at a high rate."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.frozen = nn.Parameter(torch.ones(1)), nn.Parameter(torch.full((1,), torch.nan), False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


@pytest.mark.parametrize(("rate", "diverges"), [(0.01, False), (1e30, True)])
def test_the_trainer_alone_would_not_say_so(rate: float, diverges: bool, tmp_path: Path) -> None:
    rows = [{"x": torch.tensor([2.0]), "labels": torch.tensor([1.0])}] * 8
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=6,
        learning_rate=rate,
        optim="sgd",
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        lr_scheduler_type="constant",
        max_grad_norm=0,
    )
    Trainer(Squares(), arguments, train_dataset=rows).train()
    trainer = Trainer(Squares(), arguments, train_dataset=rows, callbacks=[RefuseDivergence()])
    if not diverges:
        trainer.train()
        return
    with pytest.raises(ValueError, match=r"diverged at learning_rate=1e\+30, .*: weight is NaN or infinite"):
        trainer.train()
