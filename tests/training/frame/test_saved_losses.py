"""What a loss has learnt is beside the model that was trained with it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training.frame.checkpoints import LOSS
from tests.training.runs import trainer


class Scaled(CrossEntropyLoss):
    """Cross-entropy of logits times a number that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(1))

    def align_logits(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return logits * self.factor


def test_what_is_learnt_is_in_the_models_folder(tmp_path: Path) -> None:
    loss = Scaled()
    run = trainer(tmp_path / "run", options={"loss": loss})
    run.train()
    run.save_model(str(tmp_path / "model"))
    again = Scaled()
    again.load_state_dict(load_file(tmp_path / "model" / LOSS))
    assert again.factor.item() == loss.factor.item() != 1


def test_a_loss_without_parameters_leaves_no_file(tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", options={"loss": CrossEntropyLoss()})
    run.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model" / LOSS).exists()
