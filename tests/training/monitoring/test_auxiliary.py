"""Losses that modules add, right however a step is cut, and gone where no loss is computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlpkit.training import FGM, AuxiliaryLosses, add_loss
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same
from tests.training.runs import same_weights, small_model, trainer


class Activity(nn.Module):
    """In place of a block's last norm: adds a loss over the states of each row."""

    def __init__(self, norm: nn.Module, **options: Any) -> None:
        super().__init__()
        self.norm, self.options, self.calls = norm, options, 0

    def forward(self, states: Tensor) -> Tensor:
        self.calls += self.training
        states = self.norm(states)
        add_loss("activity", states.pow(4)[:, 0].mean(-1), **self.options)  # the first token: no padding in it
        return states


def active(model: Any, **options: Any) -> Any:
    for layer in model.bert.encoder.layer:
        layer.output.LayerNorm = Activity(layer.output.LayerNorm, **options)
    return model


BASE = next(case for case in HEADS if case.name == "BertForTokenClassification")
CASE = replace(BASE, model=lambda: active(BASE.model()))


def step(batch_size: int, accumulation: int, *techniques: Any, case: Any = CASE) -> dict[str, Tensor]:
    return gradient(case, batch_size, accumulation, "ours", {"techniques": list(techniques)})


def test_the_gradient_is_that_of_the_sum_over_rows() -> None:
    model = CASE.model().double()
    found: list[Tensor] = []
    for layer in model.bert.encoder.layer:
        layer.output.LayerNorm.register_forward_hook(lambda _, __, states: found.append(states.pow(4)[:, 0].mean(-1)))
    loss = model(**CASE.collate(CASE.rows(), None)).loss + 0.5 * sum(values.mean() for values in found)
    loss.backward()
    own = {name: parameter.grad for name, parameter in model.named_parameters()}
    made = step(8, 1, AuxiliaryLosses(0.5))
    assert_same({name: made[name] for name in own}, own, tolerance=1e-5)  # the head's own loss is in fp32
    half = step(8, 1, AuxiliaryLosses(), case=replace(BASE, model=lambda: active(BASE.model(), weight=0.5)))
    assert_same(half, made)


@pytest.mark.parametrize("others", [(), (FGM(0.5),)], ids=["alone", "with fgm"])
def test_accumulated_steps_equal_one_large_batch(others: tuple[Any, ...]) -> None:
    whole = step(8, 1, AuxiliaryLosses(), *others)
    assert_same(step(2, 4, AuxiliaryLosses(), *others), whole)
    assert_same(step(3, 3, *others, AuxiliaryLosses()), whole)
    plain = step(8, 1, *others)
    assert any((whole[name] - plain[name]).abs().max() > 1e-3 for name in plain)


def test_without_weight_it_is_not_there() -> None:
    off, plain = step(2, 4, AuxiliaryLosses(0.0)), step(2, 4)
    assert all(torch.equal(off[name], plain[name]) for name in plain)
    bare = step(2, 4, case=BASE)
    assert all(torch.equal(plain[name], bare[name.replace("LayerNorm.norm", "LayerNorm")]) for name in plain)


def test_terms_are_logged_and_evaluation_has_none(tmp_path: Path) -> None:
    run = trainer(tmp_path, [AuxiliaryLosses(0.1)], active(small_model()), eval_strategy="steps", eval_steps=2)
    run.train()
    first = run.state.log_history[0]
    assert first["loss"] == pytest.approx(first["task_loss"] + first["activity"], abs=1e-5)
    again = trainer(tmp_path, [], run.model)
    logged = [entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry]
    assert again.evaluate()["eval_loss"] == logged[-1]
    assert not run.model._forward_pre_hooks and not run.model._forward_hooks


def test_checkpointing_does_not_count_twice(tmp_path: Path) -> None:
    plain = trainer(tmp_path, [AuxiliaryLosses()], active(small_model()), steps=2)
    plain.train()
    checkpointed = trainer(
        tmp_path, [AuxiliaryLosses()], active(small_model()), steps=2, gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )  # fmt: skip
    checkpointed.train()
    norms = [run.model.bert.encoder.layer[0].output.LayerNorm for run in (plain, checkpointed)]
    assert norms[1].calls == 2 * norms[0].calls  # it did run again
    assert same_weights(plain.model, checkpointed.model)
    reentrant = trainer(
        tmp_path, [AuxiliaryLosses()], active(small_model()), gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": True},
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"add_loss\('activity'\): no graph is kept here: .*'use_reentrant': False"):
        reentrant.train()


class Odd(nn.Module):
    def __init__(self, norm: nn.Module, add: Any) -> None:
        super().__init__()
        self.norm, self.add = norm, add

    def forward(self, states: Tensor) -> Tensor:
        self.add(states)
        return self.norm(states)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (
            lambda states: add_loss("x", states.mean()),
            r"add_loss\('x'\): values of shape \(\) must be one for each row",
        ),
        (lambda states: add_loss("x", states[:1, 0, 0]), r"add_loss\('x'\): 1 values for a batch of 2 rows"),
        (lambda states: add_loss("loss", states[:, 0, 0]), r"add_loss\('loss'\): the loss has a term of this name"),
    ],
)
def test_what_is_no_term_is_refused(tmp_path: Path, add: Any, message: str) -> None:
    model = small_model()
    model.bert.embeddings.LayerNorm = Odd(model.bert.embeddings.LayerNorm, add)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, [AuxiliaryLosses()], model).train()


def test_a_pass_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    model = active(small_model())
    technique = AuxiliaryLosses()
    run = trainer(tmp_path, [technique], model)
    model.classifier, head = None, model.classifier
    with pytest.raises(TypeError):
        run.train()
    add_loss("after", torch.ones(3, 3, 3))  # nothing is at work, so even this does nothing
    model.classifier = head
    fresh = trainer(tmp_path, [AuxiliaryLosses()], active(small_model()))
    again = trainer(tmp_path, [technique], model)
    fresh.train()
    again.train()
    assert same_weights(fresh.model, again.model)
