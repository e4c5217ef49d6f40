"""Data without a length, whose passes are no multiple of a step's micro-batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset

from nlpkit.training import Flooding, GradientPenalty, Technique
from tests.contract.cases import tagged_rows
from tests.training.runs import small_model, trainer


class Stream(IterableDataset[Any]):
    """Eight rows, with no length."""

    def __init__(self, passes: int = 1) -> None:
        self._rows = tagged_rows() * passes

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


def gradients(folder: Path, rows: Any, technique: list[Technique], **settings: Any) -> list[float]:
    """Norms of the gradients of the steps, at weights that stay."""
    run = trainer(
        folder, technique, small_model(), rows=lambda: rows, learning_rate=0.0, optim="sgd", weight_decay=0.0,
        max_grad_norm=1e9, train_sampling_strategy="sequential", **settings,
    )  # fmt: skip
    run.train()
    return [entry["grad_norm"] for entry in run.state.log_history if "grad_norm" in entry]


@pytest.mark.parametrize("make", [lambda: [], lambda: [GradientPenalty(0.1)], lambda: [Flooding(100.0)]])
def test_a_step_that_a_pass_cuts_goes_on_in_the_next_one(make: Any, tmp_path: Path) -> None:
    """transformers takes no step there, and adds what is left to the next pass's first."""
    settings = {"gradient_accumulation_steps": 3, "steps": 4}
    cut = gradients(tmp_path / "cut", Stream(), make(), **settings)  # passes of four micro-batches
    whole = gradients(tmp_path / "whole", Stream(passes=3), make(), **settings)
    assert len(cut) == 4
    torch.testing.assert_close(torch.tensor(cut), torch.tensor(whole), rtol=1e-5, atol=0)
