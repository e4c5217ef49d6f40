"""Techniques under our Trainer: one gradient however a step is cut, and none of theirs without weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import FGM, LayerRates, RDrop, Technique
from tests.contract.cases import CASES, Case
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same

#: One line per technique: how it is made, given its weight.
TECHNIQUES: dict[str, Callable[[float], Technique]] = {
    "r-drop": lambda weight: RDrop(4 * weight),
    "fgm": lambda weight: FGM(0.5, weight),
    "layer-rates": lambda weight: LayerRates(decay=1 - weight / 2),
}
_NAMES = {
    "BertForTokenClassification",
    "BertForSequenceClassification",
    "BertLMHeadModel",
    "T5ForConditionalGeneration",
}
HEADS_TRIED = [case for case in HEADS if case.name in _NAMES]
each_technique = pytest.mark.parametrize("name", TECHNIQUES)


class TwoMasks(nn.Module):
    """Dropout without chance: one mask for the first half of a batch's rows, another one for the second."""

    p = 0.0

    def forward(self, states: Tensor) -> Tensor:
        if not self.training:
            return states
        masks = torch.rand(2, states.shape[-1], generator=torch.Generator().manual_seed(1)) > 0.2
        half = (torch.arange(len(states)) * 2 >= len(states)).long()
        return states * masks[half].view(len(states), *[1] * (states.dim() - 2), -1)


def with_two_masks(make: Callable[[], Any]) -> Callable[[], Any]:
    def made() -> Any:
        model = make()
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Dropout):
                    setattr(module, name, TwoMasks())
        return model

    return made


def step(
    case: Case, names: tuple[str, ...], batch_size: int, accumulation: int, weight: float = 1.0
) -> dict[str, Tensor]:
    case = replace(case, model=with_two_masks(case.model)) if "r-drop" in names else case
    techniques = [TECHNIQUES[name](weight) for name in names]
    return gradient(case, batch_size, accumulation, "ours", {"techniques": techniques})


@pytest.mark.parametrize("case", HEADS_TRIED, ids=str)
@each_technique
def test_accumulated_steps_equal_one_large_batch(case: Case, name: str) -> None:
    whole = step(case, (name,), 8, 1)
    assert_same(step(case, (name,), 2, 4), whole)
    assert_same(step(case, (name,), 3, 3), whole)


@pytest.mark.parametrize("names", list(permutations(TECHNIQUES, 2)), ids=" ".join)
def test_every_pair_composes(names: tuple[str, ...]) -> None:
    case = HEADS_TRIED[0]
    assert_same(step(case, names, 2, 4), step(case, names, 8, 1))


@each_technique
def test_it_changes_the_gradient(name: str) -> None:
    case = HEADS_TRIED[0]
    changed, plain = step(case, (name,), 8, 1), gradient(case, 8, 1, "ours")
    assert any((changed[key] - plain[key]).abs().max() > 1e-3 for key in plain)


@each_technique
def test_without_weight_the_step_is_the_plain_one_bit_for_bit(name: str) -> None:
    case = HEADS_TRIED[0]
    off, plain = gradient(case, 2, 4, "ours", {"techniques": [TECHNIQUES[name](0.0)]}), gradient(case, 2, 4, "ours")
    assert all(torch.equal(off[key], plain[key]) for key in plain)


def test_r_drop_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"R-Drop: both passes are equal to the bit, so the model has no dropout"):
        gradient(HEADS_TRIED[0], 8, 1, "ours", {"techniques": [RDrop()]})


def test_r_drop_beside_a_loss_without_labels_is_refused() -> None:
    class Own(CrossEntropyLoss):
        columns = ()

        def items_of(self, batch: Any) -> dict[str, Tensor]:
            return {"loss": torch.tensor(1)}

    with pytest.raises(ValueError, match=r"R-Drop compares logits by their labels, and Own names no labels"):
        gradient(HEADS_TRIED[0], 8, 1, "ours", {"techniques": [RDrop()], "loss": Own()})


def test_an_adversary_at_frozen_embeddings_is_refused_and_acts_behind_them() -> None:
    ladder = next(case for case in CASES if case.name == "ladder")
    with pytest.raises(ValueError, match=r"FGM: the input embedding is frozen.*FGM\(at=\.\.\.\)"):
        gradient(ladder, 8, 1, "ours", {"techniques": [FGM()]})
