"""Runs of techniques of the weights and of monitoring; run by torchrun in the test with two processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nlpkit.losses import DiceLoss
from nlpkit.optimizers import Muon
from nlpkit.training import EMA, AuxiliaryLosses, LayerRates, MeZO, Probes, Technique, Unfreezing, add_loss, probe
from tests.contract.cases import Case
from tests.contract.stock_heads import HEADS
from tests.training.runs import trainer

BASE = next(case for case in HEADS if case.name == "BertForTokenClassification")


class Telling(nn.Module):
    """In place of a norm: adds a loss, and shows a number."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, states: Tensor) -> Tensor:
        states = self.norm(states)
        add_loss("activity", states.pow(4)[:, 0].mean(-1))
        probe("size", states[:, 0].norm(dim=-1))
        return states


def telling() -> Any:
    model = BASE.model()
    model.bert.embeddings.LayerNorm = Telling(model.bert.embeddings.LayerNorm)
    return model


CASE: Case = replace(BASE, model=telling)
TECHNIQUES: dict[str, list[Technique]] = {
    "mezo": [MeZO(directions=2)],
    "averages, auxiliary losses and probes": [EMA(0.5), AuxiliaryLosses(), Probes()],
    "unfreezing and rates": [Unfreezing(0.3, "training"), LayerRates(0.5)],
    "muon": [],
    "Dice": [],
}


def run(name: str, folder: Path, batch_size: int) -> dict[str, Tensor]:
    """The weights after four steps of eight rows each, in fp64, and what was logged of the last step."""
    settings: dict[str, Any] = {"optim": "sgd"}
    if name == "muon":
        settings = {"options": {"optimizer_cls_and_kwargs": (lambda: Muon, {"lr": 0.01})}}
    if name == "Dice":
        settings |= {"options": {"loss": DiceLoss()}, "per_device_eval_batch_size": batch_size}
    run = trainer(
        folder, TECHNIQUES[name], CASE.model().double(), rows=CASE.rows, per_device_train_batch_size=batch_size,
        ddp_find_unused_parameters=name.startswith("unfreezing"), remove_unused_columns=False, **settings,
    )  # fmt: skip
    run.train()
    logs = run.state.log_history[3]
    found = {name: tensor.clone().contiguous() for name, tensor in run.model.state_dict().items()}
    kept = ("loss", "activity", "size", "eval_loss")
    if name == "Dice":
        logs = run.evaluate()
    return found | {f"log of {name}": torch.tensor(logs[name]) for name in kept if name in logs}


if __name__ == "__main__":
    for number, technique in enumerate(TECHNIQUES):
        weights = run(technique, Path(sys.argv[1], "run"), 4)
        if torch.distributed.get_rank() == 0:
            save_file(weights, Path(sys.argv[1], f"{number}.safetensors"))
    torch.distributed.destroy_process_group()
