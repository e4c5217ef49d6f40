"""Adversaries of a model that is compiled: no pass misses its hooks, and none are left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import FGM, ScheduledStrength, Technique, VirtualAdversarial, linear_strength
from tests.training.runs import same_weights, small_model, trainer


def from_the_second_step_on() -> list[Technique]:
    adversary = FGM()
    return [adversary, ScheduledStrength(adversary, "weight", linear_strength(0.0, 1.0))]


@pytest.mark.parametrize("make", [from_the_second_step_on, lambda: [VirtualAdversarial()]], ids=["fgm", "vat"])
def test_passes_as_they_are_may_come_first(make: Callable[[], list[Technique]], tmp_path: Path) -> None:
    def trained(techniques: list[Technique], compiled: bool) -> nn.Module:
        model: nn.Module = small_model()
        arguments = {"torch_compile": True, "torch_compile_backend": "eager"} if compiled else {}
        trainer(tmp_path, techniques, model, 2, options={"loss": CrossEntropyLoss()}, **arguments).train()
        return model

    model = trained(make(), compiled=True)
    torch.compiler.reset()
    assert same_weights(model, trained(make(), compiled=False))
    assert not same_weights(model, trained([], compiled=False))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
