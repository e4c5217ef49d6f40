"""Flooding: whose loss decides, what two steps come to, and the level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import TrainerCallback, TrainingArguments

from nlpkit.losses import CrossEntropyLoss, SquaredErrorLoss
from nlpkit.training import (
    FGM,
    PGD,
    Flooding,
    FreeLB,
    GradientPenalty,
    ImplicitGradient,
    Technique,
    TechniqueTrainer,
    VirtualAdversarial,
    suggest_flood_level,
)
from tests.contract.cases import VOCABULARY, Case
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import largest_difference

EACH_STEP: dict[str, Any] = {"logging_strategy": "steps", "logging_steps": 1}
TOKENS = next(case for case in HEADS if case.name == "BertForTokenClassification")


def flooded(level: float, per: Any = "step", size: int = 8, steps: int = 1, **options: Any) -> dict[str, Tensor]:
    return gradient(TOKENS, size, steps, "ours", {"techniques": [Flooding(level, per=per, **options)]})


@pytest.fixture(scope="module")
def plain() -> dict[str, Tensor]:
    return gradient(TOKENS, 8, 1, "ours")


@pytest.mark.parametrize("per", ["step", "micro-batch", "instance"])
def test_above_the_level_nothing_changes_and_below_it_gradients_turn_round(per: str, plain: dict[str, Tensor]) -> None:
    assert_same(flooded(0.0, per), plain)
    assert_same(flooded(100.0, per), {name: -value for name, value in plain.items()})
    assert_same(flooded(100.0, per, weight=0.25), {name: value / 2 for name, value in plain.items()})


def losses() -> tuple[Tensor, list[Tensor]]:
    """Of the whole step, and of its micro-batches of two."""
    model = TOKENS.model().double()
    rows = TOKENS.rows()
    batches = [TOKENS.collate(part, None) for part in (rows, *(rows[n : n + 2] for n in range(0, 8, 2)))]
    whole, *parts = (model(**batch).loss.detach() for batch in batches)
    return whole, parts


def test_micro_batches_on_both_sides_of_the_level_are_one_step(plain: dict[str, Tensor]) -> None:
    whole, parts = losses()
    above, below = whole.item() - 1e-3, whole.item() + 1e-3
    assert min(parts) < above < below < max(parts)
    assert_same(flooded(above, "step", 2, 4), plain)
    assert_same(flooded(below, "step", 2, 4), {name: -value for name, value in plain.items()})


def test_each_item_has_a_sign_of_its_own_and_the_same_in_any_micro_batch() -> None:
    model = TOKENS.model().double()
    batch = TOKENS.collate(TOKENS.rows(), None)
    chosen = batch["labels"] != -100
    values = F.cross_entropy(model(**batch).logits[chosen], batch["labels"][chosen], reduction="none")
    assert 0 < (values < 1.6).sum() < len(values)
    ((values - 1.6).abs() + 1.6).mean().backward()
    own = {name: parameter.grad for name, parameter in model.named_parameters()}
    for size, steps in ((8, 1), (2, 4)):
        found = flooded(1.6, "instance", size, steps)
        assert_same({name: found[name] for name in own}, own)


def test_weights_of_classes_are_no_part_of_an_items_loss() -> None:
    def of(*weights: float) -> dict[str, Tensor]:
        flooding = Flooding(1.6, per="instance")
        loss = CrossEntropyLoss(class_weights=weights)
        return gradient(TOKENS, 2, 4, "ours", {"techniques": [flooding], "loss": loss})

    classes = TOKENS.model().num_labels
    assert_same(of(*[0.5] * classes), flooded(1.6, "instance"))
    weights = [0.25 * (1 + number) for number in range(classes)]
    model = TOKENS.model().double()
    batch = TOKENS.collate(TOKENS.rows(), None)
    labels = batch["labels"][batch["labels"] != -100]
    values = F.cross_entropy(model(**batch).logits[batch["labels"] != -100], labels, reduction="none")
    own_weights = torch.tensor(weights).double()[labels]
    (own_weights * ((values - 1.6).abs() + 1.6) / own_weights.sum()).sum().backward()
    found = of(*weights)
    assert_same(
        {name: found[name] for name, _ in model.named_parameters()}, {n: p.grad for n, p in model.named_parameters()}
    )


def test_the_step_is_that_of_all_techniques_behind(plain: dict[str, Tensor]) -> None:
    (whole, _) = losses()
    level = 1.5 * whole.item()  # the loss of both passes of FGM lies above, that of each below
    fgm = gradient(TOKENS, 8, 1, "ours", {"techniques": [FGM(0.01)]})
    both = gradient(TOKENS, 2, 4, "ours", {"techniques": [Flooding(level), FGM(0.01)]})
    assert_same(both, fgm)
    assert largest_difference(flooded(level), plain) > 1e-2


def test_gradients_are_turned_after_clipping(plain: dict[str, Tensor]) -> None:
    norm = torch.stack([value.norm() for value in plain.values()]).norm()
    clipped = clip(100.0)
    assert_same(clipped, {name: -0.1 * value / norm for name, value in plain.items()}, tolerance=1e-5)


def clip(level: float) -> dict[str, Tensor]:
    before = TOKENS.model().double().state_dict()
    model = TOKENS.model().double()
    arguments = TrainingArguments(
        "unused", max_steps=1, max_grad_norm=0.1, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant",
        use_cpu=True, report_to=[], save_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    TechniqueTrainer(
        model, arguments, train_dataset=TOKENS.rows(), data_collator=lambda rows: TOKENS.collate(rows, None),
        techniques=[Flooding(level)],
    ).train()  # fmt: skip
    return {name: before[name] - value for name, value in model.state_dict().items()}


class Quadratic(nn.Module):
    """Predictions ``A theta``, of which the mean square is the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        self.register_buffer("a", torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]]).double())

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"logits": rows @ self.a @ self.theta}


QUADRATIC_ROWS = [{"rows": row, "labels": torch.zeros(()).double()} for row in torch.eye(3).double()]


@pytest.mark.parametrize("per", ["step", "micro-batch"])
def test_a_step_down_and_a_step_up_are_one_on_the_norm_of_the_gradient(
    per: Literal["step", "micro-batch"], tmp_path: Path
) -> None:
    model, rate = Quadratic(), 0.01
    start = model.theta.detach().clone().requires_grad_()

    def loss(theta: Tensor) -> Tensor:
        return (model.a @ theta).square().mean()

    def slope(theta: Tensor, create_graph: bool = False) -> Tensor:
        return torch.autograd.grad(loss(theta), theta, create_graph=create_graph)[0]

    level = (loss(start) + loss(start - rate * slope(start))).item() / 2
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, logging_steps=1, optim="sgd", learning_rate=rate, lr_scheduler_type="constant",
        max_grad_norm=0.0, use_cpu=True, report_to=[], save_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    trainer = TechniqueTrainer(
        model, arguments, train_dataset=QUADRATIC_ROWS, loss=SquaredErrorLoss(), techniques=[Flooding(level, per=per)],
    )  # fmt: skip
    trainer.train()
    (penalty,) = torch.autograd.grad(slope(start, True).square().sum(), start)
    # Exact, since the loss is quadratic.
    torch.testing.assert_close(model.theta.detach(), start.detach() - rate**2 / 2 * penalty, rtol=0, atol=1e-12)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[0] == pytest.approx(loss(start).item(), rel=1e-3)
    assert logged[1] == pytest.approx(loss(start - rate * slope(start)).item(), rel=1e-3)
    assert logged[1] < level < logged[0]


def test_a_loss_without_items_is_refused_per_instance() -> None:
    def own(outputs: Any, labels: Tensor, num_items_in_batch: Any) -> Tensor:
        return outputs["logits"].square().sum() / num_items_in_batch

    settings = {"techniques": [Flooding(1.0, per="instance")], "loss": own}
    with pytest.raises(ValueError, match=r'Flooding\(per="instance"\) needs the loss of each item, and FunctionLoss'):
        gradient(TOKENS, 8, 1, "ours", settings)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ValueError, match='Flooding: per=\'batch\' is none of "micro-batch", "step", "instance"'):
        Flooding(1.0, per="batch")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([{"loss": 1.0}], 'history has no "eval_loss": evaluate during training'),
        ([{"eval_loss": 1.0}, {"loss": 1.0}], 'history has no "loss" before its best evaluation: log more often'),
    ],
)
def test_a_history_without_a_level_is_refused(history: list[dict[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suggest_flood_level(history)


@pytest.mark.parametrize("others", [[], [FGM]], ids=str)
def test_the_loss_of_the_step_has_all_of_what_stands_behind_flooding(others: list[type[Technique]]) -> None:
    def found(*first: Technique, **options: Any) -> dict[str, Tensor]:
        techniques = [*first, GradientPenalty(0.7), *(other() for other in others)]
        return gradient(TOKENS, 2, 4, "ours", {"techniques": techniques} | options, **EACH_STEP)

    logged: dict[str, float] = {}

    class Log(TrainerCallback):
        def on_log(self, *args: Any, logs: dict[str, float], **others: Any) -> None:
            logged.update(logs)

    as_it_is = found(callbacks=[Log()])
    parts = [logged[name] for name in ("task_loss", "fgm/loss", "gradient_penalty") if name in logged]
    assert len(parts) == len(others) + 2
    assert_same(found(Flooding(sum(parts) - 1e-3)), as_it_is)
    assert_same(found(Flooding(sum(parts) + 1e-3)), {name: -value for name, value in as_it_is.items()})


class Flooded(CrossEntropyLoss):
    """Flooding per instance, written down as a loss."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (super().values(logits, labels) - self.level).abs() + self.level


@pytest.mark.parametrize(
    "other",
    [FGM, lambda: FGM(include_clean=False), PGD, FreeLB, VirtualAdversarial],
    ids=["fgm", "moved", "pgd", "lb", "vat"],
)
def test_per_instance_each_pass_of_an_adversary_is_of_the_flooded_loss(other: Callable[[], Technique]) -> None:
    values = clean_values()
    level = values.median().item()
    expected = gradient(TOKENS, 8, 1, "ours", {"techniques": [other()], "loss": Flooded(level)})
    flooding = Flooding(level, per="instance")
    for techniques in ([flooding, other()], [other(), flooding]):
        assert_same(gradient(TOKENS, 8, 1, "ours", {"techniques": techniques}), expected)


@pytest.mark.parametrize("other", [FGM, PGD, FreeLB, VirtualAdversarial, GradientPenalty, ImplicitGradient])
def test_per_micro_batch_the_order_makes_no_difference(other: type[Technique]) -> None:
    level = losses()[0].item() + 1e-9  # below it by a hair, in the pass as it is
    orders = (
        gradient(TOKENS, 8, 1, "ours", {"techniques": techniques})
        for techniques in ([flooding(level), other()], [other(), flooding(level)])
    )
    assert_same(*orders)


def flooding(level: float) -> Flooding:
    return Flooding(level, per="micro-batch")


def clean_values() -> Tensor:
    model, batch = TOKENS.model().double(), TOKENS.collate(TOKENS.rows(), None)
    chosen = batch["labels"] != -100
    return F.cross_entropy(model(**batch).logits[chosen], batch["labels"][chosen], reduction="none").detach()


class Pooled(nn.Module):
    """Says the same of all tokens of a row, so that what makes the loss of one rise lets others fall."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.linear = nn.Embedding(VOCABULARY, 6), nn.Linear(6, 5)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        mask = attention_mask[..., None]
        pooled = ((self.embedding(input_ids) * mask).sum(dim=1) / mask.sum(dim=1)).tanh()
        return {"logits": self.linear(pooled)[:, None].expand(-1, input_ids.shape[1], -1)}


POOLED = Case("pooled", Pooled, TOKENS.rows, TOKENS.collate)


def level_that_a_move_crosses(of: Literal["embeddings", "parameters"]) -> float:
    """A hair below the loss of an item that falls where the flooded loss of all rises."""
    model, batch = Pooled().double(), POOLED.collate(POOLED.rows(), None)
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(lambda _, __, output: embedded.append(output))
    logits, labels = model(batch["input_ids"], batch["attention_mask"])["logits"], batch["labels"]
    values = F.cross_entropy(logits[labels != -100], labels[labels != -100], reduction="none")
    leaves = embedded if of == "embeddings" else list(model.parameters())
    found = (torch.autograd.grad(value, leaves, retain_graph=True) for value in values)
    slopes = torch.stack([torch.cat([slope.flatten() for slope in each]) for each in found])
    for value, slope in zip(values.detach(), slopes, strict=True):
        level = value.item() - 1e-9
        if (values.detach() - level).sign() @ slopes @ slope < -0.5 * slope.norm() ** 2:
            return level
    raise AssertionError("no move crosses a level")


@pytest.mark.parametrize("first", [True, False])
def test_a_gradient_penalty_keeps_the_signs_of_the_pass_as_it_is(first: bool) -> None:
    level = level_that_a_move_crosses("embeddings")
    both = [Flooding(level, per="instance"), GradientPenalty()]
    found = gradient(POOLED, 8, 1, "ours", {"techniques": both if first else both[::-1], "loss": CrossEntropyLoss()})
    settings = {"techniques": [GradientPenalty(exact=True)], "loss": Flooded(level)}
    assert largest_difference(found, gradient(POOLED, 8, 1, "ours", settings)) < 1e-3


@pytest.mark.parametrize("first", [True, False])
def test_an_implicit_gradient_keeps_the_signs_of_the_pass_as_it_is(first: bool) -> None:
    level = level_that_a_move_crosses("parameters")
    model, batch = Pooled().double(), POOLED.collate(POOLED.rows(), None)
    parameters = dict(model.named_parameters())
    loss = Flooded(level).average(model(batch["input_ids"], batch["attention_mask"]), batch["labels"], None)
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    (loss + 0.3 * torch.stack([slope.square().sum() for slope in slopes]).sum()).backward()
    both = [Flooding(level, per="instance"), ImplicitGradient(0.3)]
    found = gradient(POOLED, 8, 1, "ours", {"techniques": both if first else both[::-1], "loss": CrossEntropyLoss()})
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-3)
