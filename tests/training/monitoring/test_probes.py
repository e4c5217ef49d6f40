"""Numbers from inside a model in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlpkit.training import FGM, Probes, Technique, probe
from tests.training.runs import same_weights, small_model, trainer


class Probed(nn.Module):
    """In place of a norm: shows its states' size, and the number of its run at odd ones."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.sizes = norm, []  # type: ignore[var-annotated]

    def forward(self, states: Tensor) -> Tensor:
        states = self.norm(states)
        probe("size", states.norm(dim=-1))
        if self.training:
            self.sizes.append(states.norm(dim=-1).mean().item())
            if len(self.sizes) % 4 == 1:
                probe("rare", torch.tensor(float(len(self.sizes))))
        return states


def probed() -> Any:
    model = small_model()
    model.bert.embeddings.LayerNorm = Probed(model.bert.embeddings.LayerNorm)
    return model


def logged(run: Any, name: str) -> list[float]:
    return [entry[name] for entry in run.state.log_history if name in entry]


@pytest.mark.parametrize(("every", "accumulation"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_the_mean_over_calls_is_logged(tmp_path: Path, every: int, accumulation: int) -> None:
    run = trainer(
        tmp_path, [Probes()], probed(), logging_steps=every, gradient_accumulation_steps=accumulation,
        eval_strategy="steps", eval_steps=1,
    )  # fmt: skip
    run.train()
    sizes = run.model.bert.embeddings.LayerNorm.sizes
    assert len(sizes) == 4 * accumulation
    calls = every * accumulation
    expected = [torch.tensor(sizes[start : start + calls]).mean().item() for start in range(0, len(sizes), calls)]
    found = logged(run, "size")
    assert found == pytest.approx(expected[: len(found)], rel=1e-5) and len(found) == 4 // every
    assert logged(run, "rare")[0] == 1.0


def test_once_an_epoch(tmp_path: Path) -> None:
    run = trainer(tmp_path, [Probes()], probed(), steps=8, logging_strategy="epoch")
    run.train()
    sizes = run.model.bert.embeddings.LayerNorm.sizes
    assert logged(run, "size") == pytest.approx([sum(sizes[:4]) / 4, sum(sizes[4:]) / 4], rel=1e-5)


def test_it_changes_nothing_and_sees_every_pass(tmp_path: Path) -> None:
    with_probes = trainer(tmp_path, [Probes(), FGM()], probed())
    without = trainer(tmp_path, [Technique(), FGM()], probed())
    with_probes.train()
    without.train()
    assert same_weights(with_probes.model, without.model)
    sizes = with_probes.model.bert.embeddings.LayerNorm.sizes
    assert logged(with_probes, "size") == pytest.approx([sum(sizes[i : i + 2]) / 2 for i in range(0, 8, 2)], rel=1e-5)
    assert not logged(without, "size")


def test_outside_training_it_does_nothing() -> None:
    technique = Probes()
    model = probed()
    model(input_ids=torch.ones(1, 3, dtype=torch.long))
    probe("size", torch.ones(()))
    assert technique._collector.found == []
