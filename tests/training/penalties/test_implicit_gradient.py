"""The penalty that a learning rate implies: explicit, logged, and true to the third order."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from nlpkit.losses import CrossEntropyLoss, SquaredErrorLoss
from nlpkit.training import FGM, ImplicitGradient, ImplicitGradientLog, TechniqueTrainer
from tests.contract.cases import Case
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same
from tests.training.penalties.test_flooding import QUADRATIC_ROWS, Quadratic

TOKENS = next(case for case in HEADS if case.name == "BertForTokenClassification")


def eager() -> Any:
    model = TOKENS.model()
    model.set_attn_implementation("eager")
    return model


def test_it_is_the_gradient_of_the_squared_norm() -> None:
    model = eager().double()
    batch = TOKENS.collate(TOKENS.rows(), None)
    parameters = dict(model.named_parameters())
    loss = model(**batch).loss
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True, allow_unused=True)
    squared = torch.stack([slope.square().sum() for slope in slopes if slope is not None]).sum()
    (loss + 0.03 * squared).backward()
    own = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    errors = []
    for delta in (1e-3, 1e-4):
        found = gradient(TOKENS, 8, 1, "ours", {"techniques": [ImplicitGradient(0.03, delta=delta)]})
        errors.append(max((found[name] - own[name]).abs().max().item() for name in own))
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.5)
    plain, default = (gradient(TOKENS, 8, 1, "ours", {"techniques": t}) for t in ([], [ImplicitGradient(0.03)]))
    assert size(default, own) < 0.02 * size(own, plain)


def size(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Of the difference of two gradients."""
    return sum((first[name] - second[name]).square().sum().item() for name in first if name in second) ** 0.5


def train(folder: Path, rate: float, *techniques: Any, steps: int = 1) -> tuple[Tensor, dict[str, float]]:
    """Where a quadratic loss is after steps of SGD, and the first log."""
    model = Quadratic()
    arguments = TrainingArguments(
        str(folder), max_steps=steps, logging_steps=1, optim="sgd", learning_rate=rate, lr_scheduler_type="constant",
        max_grad_norm=0.0, use_cpu=True, report_to=[], save_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    data, loss = QUADRATIC_ROWS, SquaredErrorLoss()
    trainer = TechniqueTrainer(model, arguments, train_dataset=data, loss=loss, techniques=techniques)
    trainer.train()
    return model.theta.detach(), trainer.state.log_history[0]


def test_a_step_follows_the_flow_of_the_penalised_loss_to_the_third_order(tmp_path: Path) -> None:
    """Halving the rate divides the error of a step by 4 against the plain flow, and by 8 against the penalised one."""
    start, hessian = Quadratic().theta.detach(), 2 / 3 * Quadratic().a @ Quadratic().a
    plain, penalised = [], []
    for rate in (0.08, 0.04, 0.02, 0.01):
        there, _ = train(tmp_path, rate)
        plain.append((torch.linalg.matrix_exp(-rate * hessian) @ start - there).norm().item())
        # What the technique makes of the gradient, read off a tiny step, is linear in theta: H + 2 (rate / 4) H^2.
        moved, _ = train(tmp_path, 1e-3, ImplicitGradient(rate / 4))
        field = hessian + rate / 2 * hessian @ hessian
        torch.testing.assert_close((start - moved) / 1e-3, field @ start, rtol=0, atol=1e-9)
        penalised.append((torch.linalg.matrix_exp(-rate * field) @ start - there).norm().item())
    assert [coarse / fine for coarse, fine in pairwise(plain)] == pytest.approx([4.0] * 3, rel=0.1)
    assert [coarse / fine for coarse, fine in pairwise(penalised)] == pytest.approx([8.0] * 3, rel=0.2)


def test_the_penalty_is_logged_and_part_of_the_loss(tmp_path: Path) -> None:
    start, hessian = Quadratic().theta.detach(), 2 / 3 * Quadratic().a @ Quadratic().a
    squared = (hessian @ start).square().sum().item()
    _, log = train(tmp_path, 0.01, ImplicitGradient(0.1), ImplicitGradientLog())
    assert log["implicit_gradient"] == pytest.approx(0.1 * squared)
    assert log["loss"] == pytest.approx(log["task_loss"] + log["implicit_gradient"], abs=1e-3)
    _, log = train(tmp_path, 0.01, ImplicitGradientLog())
    assert log["implicit_gradient_log"] == pytest.approx(0.01 / 4 * squared)
    assert log["implicit_gradient_log"] == pytest.approx(0.01 / 4 * log["grad_norm"] ** 2, rel=1e-4)


def test_it_penalises_all_that_stands_behind_it() -> None:
    fgm = gradient(TOKENS, 8, 1, "ours", {"techniques": [FGM(0.5)]})
    both, doubled = (
        gradient(TOKENS, 8, 1, "ours", {"techniques": [ImplicitGradient(weight), FGM(0.5)]}) for weight in (1e-3, 2e-3)
    )
    alone = gradient(TOKENS, 8, 1, "ours", {"techniques": [ImplicitGradient(1e-3)]})
    plain = gradient(TOKENS, 8, 1, "ours")
    assert_same(
        {name: 2 * (both[name] - fgm[name]) for name in fgm}, {name: doubled[name] - fgm[name] for name in fgm}
    )
    parts = {name: (both[name] - fgm[name], alone[name] - plain[name]) for name in fgm}
    assert max((first - second).abs().max().item() for first, second in parts.values()) > 1e-3


def test_parameters_are_moved_back_to_the_bit_even_after_a_failure() -> None:
    kept: list[Any] = []

    def model() -> Any:
        kept.append(TOKENS.model())
        return kept[-1]

    class Fails(CrossEntropyLoss):
        calls = 0

        def values(self, logits: Tensor, labels: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 2:
                raise ArithmeticError("at the parameters that are moved")
            return super().values(logits, labels)

    case = Case("tokens", model, TOKENS.rows, TOKENS.collate)
    with pytest.raises(ArithmeticError):
        gradient(case, 8, 1, "ours", {"techniques": [ImplicitGradient()], "loss": Fails()})
    expected = TOKENS.model().double().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in kept[0].state_dict().items())


class Learnt(CrossEntropyLoss):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()).double())

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().values(logits * self.scale, labels)


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        (
            {"techniques": [ImplicitGradient()], "loss": Learnt()},
            {},
            "and this loss has parameters, too",
        ),
        *(
            ({"techniques": [ImplicitGradient()]}, {half: True}, f"lost in the rounding of {half}: train in fp32")
            for half in ("bf16", "fp16")
        ),
    ],
)
def test_what_it_cannot_penalise_is_refused(settings: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient(TOKENS, 8, 1, "ours", settings, **arguments)


def test_a_move_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ImplicitGradient: delta=0.0: give a finite number above 0; e\.g\. 3e-4"):
        ImplicitGradient(delta=0.0)
