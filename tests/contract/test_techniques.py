"""Techniques under our Trainer: one gradient however a step is cut, and none of theirs without weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nlpkit.losses import CrossEntropyLoss
from nlpkit.teaforn import EmbeddingMixture, MultiToken, RandomReplacement, ScheduledSampling, TeaForN
from nlpkit.training import (
    FGM,
    PGD,
    Flooding,
    FreeLB,
    GradientPenalty,
    ImplicitGradient,
    LayerRates,
    RDrop,
    Technique,
    VirtualAdversarial,
    WeightScaleInvariant,
)
from tests.contract.cases import CASES, Case
from tests.contract.one_step import gradient
from tests.contract.processes import run_processes
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same

#: One line per technique: how it is made, given its weight.
TECHNIQUES: dict[str, Callable[[float], Technique]] = {
    "r-drop": lambda weight: RDrop(4 * weight),
    "fgm": lambda weight: FGM(0.5, weight),
    "layer-rates": lambda weight: LayerRates(decay=1 - weight / 2),
    "pgd": lambda weight: PGD(0.5, weight, steps=2, include_clean=False),
    "free-lb": lambda weight: FreeLB(0.5, weight, steps=2),
    "gradient-penalty": lambda weight: GradientPenalty(weight, delta=1e-2),  # less cancels, so that 1e-10 can be asked
    "virtual-adversarial": lambda weight: VirtualAdversarial(weight, epsilon=0.2),  # seen in small models
    "flooding-per-step": lambda weight: Flooding(2.0, weight=weight),
    "flooding-per-instance": lambda weight: Flooding(1.6, per="instance", weight=weight),
    "weissi": lambda weight: WeightScaleInvariant(weight, parameters=lambda _, p: p.dim() > 1),
}
#: Those of models that write.
WRITING: dict[str, Callable[[float], Technique]] = {
    "teaforn": lambda weight: TeaForN(3, weight=weight, decay=0.5),
    "teaforn-recomputed": lambda weight: TeaForN(
        weight=weight, feed=EmbeddingMixture(), drop_repeats=False, recompute=True
    ),
    "scheduled-sampling": lambda weight: ScheduledSampling(weight, sample=False),  # all tokens, and none by chance
    "random-replacement": lambda weight: RandomReplacement(weight, tokens=(7, 8)),  # likewise
    "multi-token": lambda weight: MultiToken(3, weight=weight),
}
#: Those that couple the rows of a batch, which the Trainer refuses under accumulation.
COUPLED: dict[str, Callable[[float], Technique]] = {
    "fgm-matrix": lambda weight: FGM(0.5, weight, at="matrix", include_clean=False),
    "flooding-per-micro-batch": lambda weight: Flooding(100.0, per="micro-batch", weight=weight),
    "implicit-gradient": lambda weight: ImplicitGradient(weight),
}
#: In two processes also with a level that lies below the loss of the step, and above what either process has of it.
IN_PROCESSES = TECHNIQUES | WRITING | {"flooding-above-the-level": lambda weight: Flooding(1.0, weight=weight)}
_NAMES = {
    "BertForTokenClassification",
    "BertForSequenceClassification",
    "BertLMHeadModel",
    "T5ForConditionalGeneration",
}
HEADS_TRIED = [case for case in HEADS if case.name in _NAMES]
WRITERS = [
    case
    for case in HEADS
    if case.name in ("T5ForConditionalGeneration", "BartForConditionalGeneration", "LlamaForCausalLM")
]
each_technique = pytest.mark.parametrize("name", [*TECHNIQUES, *WRITING])
EACH = [*((case, name) for name in TECHNIQUES for case in HEADS_TRIED), *((c, n) for n in WRITING for c in WRITERS)]


def usual_case(*names: str) -> Case:
    """A head that all of these techniques are for."""
    return WRITERS[0] if any(name in WRITING for name in names) else HEADS_TRIED[0]


class TwoMasks(nn.Module):
    """Dropout without chance: one mask for the first half of a batch's rows, another one for the second."""

    p = 0.0

    def forward(self, states: Tensor) -> Tensor:
        if not self.training:
            return states
        masks = torch.rand(2, states.shape[-1], generator=torch.Generator().manual_seed(1)) > 0.2
        half = (torch.arange(len(states)) * 2 >= len(states)).long()
        return states * masks[half].view(len(states), *[1] * (states.dim() - 2), -1)


def with_two_masks(case: Case) -> Case:
    def make() -> Any:
        model = case.model()
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Dropout):
                    setattr(module, name, TwoMasks())
        return model

    return replace(case, model=make)


def step(
    case: Case, names: tuple[str, ...], batch_size: int, accumulation: int, weight: float = 1.0
) -> dict[str, Tensor]:
    case = with_two_masks(case) if "r-drop" in names else case
    techniques = [(IN_PROCESSES | COUPLED)[name](weight) for name in names]
    return gradient(case, batch_size, accumulation, "ours", {"techniques": techniques})


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max((first[key] - second[key]).abs().max().item() for key in first)


@pytest.mark.parametrize(("case", "name"), EACH, ids=str)
def test_accumulated_steps_equal_one_large_batch(case: Case, name: str) -> None:
    whole = step(case, (name,), 8, 1)
    assert_same(step(case, (name,), 2, 4), whole)
    assert_same(step(case, (name,), 3, 3), whole)


#: All pairs in the order of the table, and the other way round those with the technique that most others act around.
PAIRS = [*combinations(TECHNIQUES, 2), *((name, "fgm") for name in TECHNIQUES if name not in ("fgm", "r-drop"))]
PAIRS += [*product(["teaforn"], TECHNIQUES), *product(TECHNIQUES, ["teaforn"]), *combinations(WRITING, 2)]
PAIRS += [*product(["teaforn-recomputed", "scheduled-sampling", "multi-token"], ["r-drop", "fgm"])]


@pytest.mark.parametrize("names", PAIRS, ids=" ".join)
def test_every_pair_composes(names: tuple[str, ...]) -> None:
    case = usual_case(*names)
    assert_same(step(case, names, 2, 4), step(case, names, 8, 1))


@pytest.mark.parametrize("name", COUPLED)
def test_techniques_that_couple_rows_are_refused_under_accumulation_alone(name: str) -> None:
    case = HEADS_TRIED[0]
    with pytest.raises(ValueError, match=r"couples the rows of a batch, so that gradient_accumulation_steps=4"):
        step(case, (name,), 2, 4)
    alone, beside, plain = step(case, (name,), 8, 1), step(case, (name, "r-drop"), 8, 1), gradient(case, 8, 1, "ours")
    assert largest_difference(alone, plain) > 1e-3
    assert largest_difference(beside, alone) > 1e-3
    off = gradient(case, 8, 1, "ours", {"techniques": [COUPLED[name](0.0)]})
    assert all(torch.equal(off[key], plain[key]) for key in plain)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    each = {name: usual_case(name) for name in IN_PROCESSES}
    run_processes("tests.contract.one_step", "ours", str(tmp_path), *(f"{case}+{name}" for name, case in each.items()))
    for name, case in each.items():
        expected = step(case, (name,), 8, 1)
        for batch_size, average in product((4, 2), (True, False)):
            found = load_file(tmp_path / f"{case}+{name} {batch_size} {average}.safetensors")
            assert_same(found, expected)


@each_technique
def test_it_changes_the_gradient(name: str) -> None:
    case = usual_case(name)
    changed, plain = step(case, (name,), 8, 1), gradient(case, 8, 1, "ours")
    assert largest_difference(changed, plain) > 1e-3


@each_technique
def test_without_weight_the_step_is_the_plain_one_bit_for_bit(name: str) -> None:
    case = usual_case(name)
    off, plain = gradient(case, 2, 4, "ours", {"techniques": [IN_PROCESSES[name](0.0)]}), gradient(case, 2, 4, "ours")
    assert all(torch.equal(off[key], plain[key]) for key in plain)


def test_r_drop_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"R-Drop: both passes are equal but for rounding, so the model has no"):
        gradient(HEADS_TRIED[0], 8, 1, "ours", {"techniques": [RDrop()]})


def test_r_drop_beside_a_loss_without_labels_is_refused() -> None:
    class Own(CrossEntropyLoss):
        columns = ()

        def items_of(self, batch: Any) -> dict[str, Tensor]:
            return {"loss": torch.tensor(1)}

    with pytest.raises(ValueError, match=r"R-Drop compares logits by their labels, and Own names no labels"):
        gradient(HEADS_TRIED[0], 8, 1, "ours", {"techniques": [RDrop()], "loss": Own()})


def test_an_adversary_in_front_of_a_detached_backbone_is_refused_and_acts_behind_it() -> None:
    ladder = next(case for case in CASES if case.name == "ladder")

    def adversary(make: Callable[..., Technique]) -> dict[str, Any]:
        return {"techniques": [make(at=lambda model: model.bert.encoder.layer[0].enter)]}

    for make in (FGM, PGD, FreeLB, GradientPenalty, VirtualAdversarial):
        with pytest.raises(
            ValueError, match=rf"{make.__name__}: no gradient reaches the output of Embedding, since all that .*\(at="
        ):
            gradient(ladder, 8, 1, "ours", {"techniques": [make()]})
        whole = gradient(ladder, 8, 1, "ours", adversary(make))
        assert_same(gradient(ladder, 2, 4, "ours", adversary(make)), whole)
        assert largest_difference(whole, gradient(ladder, 8, 1, "ours")) > 1e-4
