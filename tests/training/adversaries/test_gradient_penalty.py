"""Gradient penalty: against a second derivative written down, FGM to first order, and the faults of others."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    TrainerCallback,
    TrainingArguments,
)

from nlpkit import WoBertTokenizer, model_path
from nlpkit.losses import CrossEntropyLoss, SquaredErrorLoss
from nlpkit.training import FGM, PGD, FreeLB, GradientPenalty, Technique, TechniqueTrainer
from nlpkit.training.adversaries.adversary import Adversary
from tests.contract.cases import Case, pad_tokens
from tests.contract.one_step import gradient
from tests.training.adversaries.test_fgm import ROWS, TOKENS, ours
from tests.training.linear_model import LINEAR, sums_and_lengths
from tests.training.runs import same_weights, small_model, trainer, whole_and_resumed


def eager(case: Case) -> Case:
    def make() -> Any:
        model = case.model()
        model.set_attn_implementation("eager")
        return model

    return Case(case.name, make, case.rows, case.collate)


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: first[name] - second[name] for name in first}


def size(gradients: dict[str, Tensor]) -> float:
    return sum(gradient.square().sum().item() for gradient in gradients.values()) ** 0.5


@pytest.fixture(scope="module")
def plain() -> dict[str, Tensor]:
    return gradient(eager(TOKENS), 8, 1, "ours")


def test_it_is_the_gradient_of_the_penalty_written_down_row_by_row(plain: dict[str, Tensor]) -> None:
    case = eager(TOKENS)
    model = case.model().double()
    items = sum((row["labels"] != -100).sum() for row in case.rows())
    total = torch.zeros((), dtype=torch.float64)
    for row in case.rows():
        batch = case.collate([row], None)
        embedded = model.get_input_embeddings()(batch["input_ids"])
        logits = model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(logits[0], batch["labels"][0], reduction="sum")
        (slope,) = torch.autograd.grad(loss, embedded, create_graph=True)
        total = total + 0.7 / 2 * slope.square().sum() / items
    total.backward()
    found = apart(ours(case, GradientPenalty(0.7, exact=True)), plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-10)
    # What bert4torch has in its place, `.grad` without a graph, makes it a multiple of the plain gradient.
    inner = sum((found[name] * plain[name]).sum().item() for name in plain)
    assert abs(inner) < 0.9 * size(found) * size(plain)


def test_finite_differences_meet_the_second_derivative_and_their_error_falls_with_the_move(
    plain: dict[str, Tensor],
) -> None:
    exact = ours(eager(TOKENS), GradientPenalty(0.7, exact=True))
    scale = size(apart(exact, plain))
    errors = [
        size(apart(ours(TOKENS, GradientPenalty(0.7, delta=delta)), exact)) / scale for delta in (1e-2, 1e-3, 1e-4)
    ]
    assert errors[1] < 1e-2
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(10, rel=0.1)
    assert size(apart(ours(TOKENS, GradientPenalty(0.7)), exact)) < 1e-2 * scale


class Gradients(TrainerCallback):
    """Keeps those of a step."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        self.found = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}


NEWS = [
    "上海的地铁又通了一条新线路",
    "球队昨晚客场输了三个球",
    "这只股票今天跌了",
    "新手机的电池能用两天",
    "大学开学了",
    "春天适合去云南旅游",
]


def in_fp32(model: Any, folder: Path, *techniques: Technique, **settings: Any) -> dict[str, Tensor]:
    kept = Gradients()
    encoded = WoBertTokenizer.from_pretrained(model_path("wobert-mini-zh"))(NEWS)["input_ids"]
    rows = [{"input_ids": torch.tensor(ids), "labels": torch.tensor(n % 3)} for n, ids in enumerate(encoded)]
    arguments = TrainingArguments(
        str(folder),
        max_steps=1,
        optim="sgd",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        max_grad_norm=0.0,
        **settings,
    )
    TechniqueTrainer(
        model, arguments, train_dataset=rows, techniques=techniques, callbacks=[kept],
        data_collator=lambda rows: pad_tokens(rows, None),
    ).train()  # fmt: skip
    return kept.found


def of_three_classes(shipped: bool) -> Any:
    torch.manual_seed(0)
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 3}
    if not shipped:
        return small_model(BertForSequenceClassification, vocab_size=19000, attn_implementation="eager", **settings)
    model = AutoModelForSequenceClassification.from_pretrained(
        model_path("wobert-mini-zh"), attn_implementation="eager", **settings
    )
    model.get_input_embeddings().requires_grad_(False)  # half of all parameters
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["shipped", "random"])
def penalised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Whether of the shipped model: the gradient with the penalty, and the length of the penalty's own."""
    folder = tmp_path_factory.mktemp("exact")
    plain, exact = (in_fp32(of_three_classes(request.param), folder, *t) for t in ([], [GradientPenalty(exact=True)]))
    return request.param, exact, size(apart(exact, plain))


def test_the_default_move_is_right_in_fp32_whatever_the_size_of_embeddings(penalised: Any, tmp_path: Path) -> None:
    shipped, exact, length = penalised
    assert size(apart(in_fp32(of_three_classes(shipped), tmp_path, GradientPenalty()), exact)) < 0.03 * length


def test_exact_is_right_in_bf16(penalised: Any, tmp_path: Path) -> None:
    shipped, exact, length = penalised
    found = in_fp32(of_three_classes(shipped), tmp_path, GradientPenalty(exact=True), bf16=True)
    assert size(apart(found, exact)) < 0.1 * length


def test_what_rounds_a_difference_away_is_refused(tmp_path: Path) -> None:
    message = "GradientPenalty takes a difference of two gradients, which is lost in the rounding of {}: .*exact=True"
    model = of_three_classes(False)
    with pytest.raises(ValueError, match=message.format("bf16")):
        in_fp32(model, tmp_path, GradientPenalty(), bf16=True)
    with pytest.raises(ValueError, match=message.format("bfloat16 parameters")):
        in_fp32(model.bfloat16(), tmp_path, GradientPenalty())


def test_a_second_training_forgets_how_long_gradients_were(tmp_path: Path) -> None:
    def other() -> Any:
        model = small_model().double()
        model.get_input_embeddings().weight.data *= 100
        return model

    ends = []
    for used in (True, False):
        technique = GradientPenalty(delta=0.3)
        if used:
            trainer(tmp_path, [technique], other(), steps=2).train()
        run = trainer(tmp_path, [technique], small_model().double(), steps=1)
        run.train()
        ends.append(run.model)
    assert same_weights(*ends)


def test_a_training_that_is_resumed_goes_on_with_the_lengths_of_its_last_step(tmp_path: Path) -> None:
    assert same_weights(*(run.model for run in whole_and_resumed(tmp_path, lambda: [GradientPenalty(delta=0.3)])))


def test_fgm_whose_move_is_not_normalised_is_the_penalty_to_first_order(plain: dict[str, Tensor]) -> None:
    errors = []
    for epsilon in (1e-4, 1e-5, 1e-6):
        penalised = ours(eager(TOKENS), GradientPenalty(epsilon, exact=True))
        moved = ours(eager(TOKENS), FGM(epsilon, normalise=False, include_clean=False))
        errors.append(size(apart(moved, penalised)) / size(apart(penalised, plain)))
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(("options", "tolerance"), [({"exact": True}, 1e-9), ({"delta": 1e-5}, 1e-3)], ids=str)
def test_a_linear_model_has_the_closed_form(options: dict[str, Any], tolerance: float) -> None:
    model, summed, lengths, numbers = sums_and_lengths()
    weight = model.weight.detach().requires_grad_()
    errors = summed @ weight - numbers
    penalty = (0.3 / 2 * 4 * errors.square() * weight.square().sum() * lengths).mean()
    (errors.square().mean() + penalty).backward()
    found = ours(LINEAR, GradientPenalty(0.3, **options))["weight"]
    torch.testing.assert_close(found, weight.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("exact", [True, False])
def test_the_value_of_the_penalty_is_logged(exact: bool, tmp_path: Any) -> None:
    model, summed, lengths, numbers = sums_and_lengths()
    errors = summed @ model.weight.detach() - numbers
    expected = (0.3 / 2 * 4 * errors.square() * model.weight.detach().square().sum() * lengths).mean().item()
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, logging_steps=1, use_cpu=True, report_to=[], save_strategy="no",
        remove_unused_columns=False,
    )  # fmt: skip
    trainer = TechniqueTrainer(
        model, arguments, train_dataset=LINEAR.rows(), data_collator=lambda rows: LINEAR.collate(rows, None),
        loss=SquaredErrorLoss(), techniques=[GradientPenalty(0.3, exact=exact)],
    )  # fmt: skip
    trainer.train()
    assert trainer.state.log_history[0]["gradient_penalty"] == pytest.approx(expected, rel=1e-6)


def test_the_matrix_has_the_penalty_of_the_post(plain: dict[str, Tensor]) -> None:
    case = eager(TOKENS)
    model = case.model().double()
    batch = case.collate(case.rows(), None)
    (slope,) = torch.autograd.grad(model(**batch).loss, [model.get_input_embeddings().weight], create_graph=True)
    (0.7 / 2 * slope.square().sum()).backward()
    found = apart(ours(case, GradientPenalty(0.7, at="matrix", exact=True)), plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-6)


def test_dropout_is_no_part_of_the_difference() -> None:
    def make() -> Any:
        model = TOKENS.model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        return model.train()

    case = Case("dropout", make, TOKENS.rows, TOKENS.collate)
    near = [ours(case, GradientPenalty(0.7, delta=delta)) for delta in (1e-4, 1e-5)]
    assert size(apart(*near)) < 1e-2 * size(near[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"exact": True},
            r"differentiates twice, which sdpa attention cannot: call model.set_attn_implementation\('eager",
        ),
        ({"delta": 0.0}, "GradientPenalty: delta=0.0: give a finite number above 0; e.g. 1e-5"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours(ROWS, GradientPenalty(**options))


def test_a_task_of_several_terms_is_refused() -> None:
    class Own(CrossEntropyLoss):
        def items_of(self, batch: Any) -> dict[str, Tensor]:
            return {"mine": super().items_of(batch)["loss"]}

        def terms(self, outputs: Any, batch: Any, items: Any) -> dict[str, Tensor]:
            return {"mine": self.average(outputs, batch["labels"], items.get("mine"))}

    for technique in (GradientPenalty(), FGM(normalise=False)):
        with pytest.raises(ValueError, match=r"needs gradients of the loss of a row, .* items of their own: mine"):
            gradient(TOKENS, 8, 1, "ours", {"techniques": [technique], "loss": Own()})


def test_fused_attention_has_no_second_derivative_of_its_own() -> None:
    """Why ``exact=True`` is refused there; if this fails, the refusal can go."""
    model = TOKENS.model().double()
    batch = TOKENS.collate(TOKENS.rows(), None)
    embedded = model.get_input_embeddings()(batch.pop("input_ids"))
    (slope,) = torch.autograd.grad(model(inputs_embeds=embedded, **batch).loss, embedded, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative"):
        slope.square().sum().backward()


def logged(folder: Any, techniques: list[Technique]) -> dict[str, float]:
    arguments = TrainingArguments(
        str(folder), max_steps=1, logging_steps=1, use_cpu=True, report_to=[], save_strategy="no",
        remove_unused_columns=False,
    )  # fmt: skip
    trainer = TechniqueTrainer(
        eager(TOKENS).model().double(), arguments, train_dataset=TOKENS.rows(),
        data_collator=lambda rows: TOKENS.collate(rows, None), techniques=techniques,
    )  # fmt: skip
    trainer.train()
    log: dict[str, float] = trainer.state.log_history[0]
    return log


@pytest.mark.parametrize("exact", [True, False])
def test_the_loss_that_is_logged_is_the_sum_of_its_parts_around_other_techniques(exact: bool, tmp_path: Any) -> None:
    log = logged(tmp_path, [GradientPenalty(0.7, delta=0.3, exact=exact), FGM(0.5, 0.4)])
    parts = [log[name] for name in ("task_loss", "fgm/loss", "gradient_penalty")]
    assert log["loss"] == pytest.approx(sum(parts), rel=1e-6)
    assert log["loss"] > 1.2 * log["task_loss"]


@pytest.mark.parametrize("adversary", [FGM, PGD, FreeLB])
def test_adversaries_inside_go_uphill_though_a_pass_may_have_a_weight_below_zero(adversary: type[Adversary]) -> None:
    # The smaller the move, the further lies the weight of the pass as it is below 0; the step stays the same.
    coarse, fine = (
        gradient(eager(TOKENS), 8, 1, "ours", {"techniques": [GradientPenalty(0.7, delta=delta), adversary(0.5)]})
        for delta in (1e-3, 1e-4)
    )
    assert size(apart(coarse, fine)) < 0.05 * size(fine)
