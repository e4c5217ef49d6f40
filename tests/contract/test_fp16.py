"""Gradients that fp16 scales: whatever is not refused comes to the gradient without a scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import CenterLoss, CrossEntropyLoss, DiceLoss, FlatNCELoss, Loss, ZLPRLoss
from nlpkit.training import (
    FGM,
    PGD,
    AuxiliaryLosses,
    GradCache,
    GradientPenalty,
    ImplicitGradient,
    ImplicitGradientLog,
    MeZO,
    SelfCritical,
    SimCSE,
    Technique,
)
from tests.contract.cases import CASES, Case
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_losses import EMBEDDINGS
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import COUPLED, TECHNIQUES, WRITING, usual_case, with_two_masks
from tests.training.objectives.test_grad_cache import Learnt

REFUSED = {"gradient-penalty", "implicit-gradient"}
NAMES = [name for name in (TECHNIQUES | WRITING | COUPLED) if name not in REFUSED]
_BY_NAME = {case.name: case for case in [*HEADS, *CASES]}
TOKENS, WRITER = _BY_NAME["BertForTokenClassification"], _BY_NAME["T5ForConditionalGeneration"]


def short(samples: Tensor, batch: Any) -> Tensor:
    return (samples % 7).double().mean(1)


def attending_eagerly() -> Any:
    model: Any = TOKENS.model()
    model.set_attn_implementation("eager")
    return model


Make = Callable[[], tuple[Loss | None, list[Technique]]]
#: A head, and what trains it beside those of the table of techniques.
OTHERS: dict[str, tuple[Case, int, Make]] = {
    "ladder": (_BY_NAME["ladder"], 2, lambda: (None, [])),
    "fgm by the size of gradients": (TOKENS, 2, lambda: (None, [FGM(0.3, normalise=False)])),
    "fgm alone": (TOKENS, 2, lambda: (None, [FGM(0.3, include_clean=False)])),
    "auxiliary losses": (TOKENS, 2, lambda: (None, [AuxiliaryLosses()])),
    "self-critical": (WRITER, 2, lambda: (None, [SelfCritical(short, max_new_tokens=4)])),
    "self-critical alone": (WRITER, 2, lambda: (None, [SelfCritical(short, max_new_tokens=4, task_weight=0.0)])),
    "gradients cached": (EMBEDDINGS, 2, lambda: (Learnt(), [GradCache()])),
    "one batch": (EMBEDDINGS, 8, lambda: (Learnt(), [])),
    "dice, cached": (TOKENS, 2, lambda: (DiceLoss(), [GradCache()])),
    "a threshold that is learnt": (_BY_NAME["multi-label"], 2, lambda: (ZLPRLoss(threshold="learned"), [])),
    "centers that are learnt": (TOKENS, 2, lambda: (CenterLoss(CrossEntropyLoss(), 5, 16, momentum=None), [])),
}


def step(trainer: str, case: Case, batch_size: int, make: Make, **arguments: Any) -> dict[str, Tensor]:
    """The gradient of a step, that of the loss's own parameters included."""
    loss, techniques = make()
    before = {} if loss is None else {name: p.detach().clone().double() for name, p in loss.named_parameters()}
    torch.manual_seed(0)
    found = gradient(case, batch_size, 8 // batch_size, trainer, {"loss": loss, "techniques": techniques}, **arguments)
    for name, parameter in {} if loss is None else dict(loss.named_parameters()).items():
        found[f"loss.{name}"] = before[name] - parameter.detach()
        assert found[f"loss.{name}"].abs().max() > 0
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_is_taken_out_of_techniques(name: str) -> None:
    make = (TECHNIQUES | WRITING | COUPLED)[name]
    case = with_two_masks(usual_case(name)) if name == "r-drop" else usual_case(name)
    batch_size = 8 if name in COUPLED else 2
    ours, scaled = (step(trainer, case, batch_size, lambda: (None, [make(1.0)])) for trainer in ("ours", "fp16"))
    assert_same(scaled, ours)


@pytest.mark.parametrize("name", OTHERS)
def test_the_scale_is_taken_out_of_objectives_and_what_losses_learn(name: str) -> None:
    ours, scaled = (step(trainer, *OTHERS[name]) for trainer in ("ours", "fp16"))
    # Losses hold their own numbers in fp32.
    assert_same(scaled, ours, tolerance=1e-6 if "learnt" in name else 1e-10)


class Faint(CrossEntropyLoss):
    """The share of a few rows in a step of ten thousand times as many."""

    def items_of(self, batch: Any) -> dict[str, Tensor]:
        return {name: count * 10_000 for name, count in super().items_of(batch).items()}


@pytest.mark.parametrize(
    "make", [lambda: [], lambda: [FGM(0.3)], lambda: [FGM(0.3, include_clean=False)], lambda: [PGD(0.3)]]
)
def test_small_gradients_do_not_round_to_nothing(make: Callable[[], list[Technique]]) -> None:
    """In fp16 itself, where an adversary looks for its direction without training, too."""
    settings = [{"loss": Faint(), "techniques": make()} for _ in range(2)]
    exact = gradient(TOKENS, 8, 1, "ours", settings[0], dtype=torch.float32)
    halved = gradient(TOKENS, 8, 1, "fp16", settings[1], dtype=torch.float32)
    gap, size = (
        torch.cat([tensor.flatten() for tensor in tensors]).norm()
        for tensors in ([halved[name] - exact[name] for name in exact], exact.values())
    )
    assert 0 < gap < 2e-3 * size  # 0.05 to 0.14 where gradients round to 0


def test_simcse_beside_cached_gradients() -> None:
    ours, scaled = (
        step(trainer, with_two_masks(EMBEDDINGS), 4, lambda: (FlatNCELoss(), [SimCSE(), GradCache()]))
        for trainer in ("ours", "fp16")
    )
    assert_same(scaled, ours)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_the_logged_penalty_is_that_of_the_gradient_without_a_scale(
    max_grad_norm: float,
) -> None:
    logged: list[float] = []

    class Listening(ImplicitGradientLog):
        def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            logged.extend(value for name, value in others["logs"].items() if name == "listening")

    for trainer in ("ours", "fp16"):
        step(trainer, TOKENS, 8, lambda: (None, [Listening()]), logging_steps=1, max_grad_norm=max_grad_norm)
    assert logged[0] == pytest.approx(logged[1]) and logged[0] > 0


@pytest.mark.parametrize(
    ("technique", "told"),
    [
        (MeZO, "MeZO cannot be trained with in fp16: it makes no gradients, and the scaler needs some; train in fp32"),
        (lambda: GradientPenalty(exact=True), "GradientPenalty cannot be trained with in fp16: it needs the size of"),
        (ImplicitGradient, "ImplicitGradient takes a difference of two gradients, which is lost in the rounding of"),
    ],
)
def test_what_the_scale_would_spoil_is_refused(technique: Any, told: str) -> None:
    case = replace(TOKENS, model=attending_eagerly)
    with pytest.raises(ValueError, match=told):
        step("fp16", case, 8, lambda: (None, [technique()]))
