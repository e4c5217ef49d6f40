"""Amos against its formula, its slots and states, and the scale that it adapts to."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nlpkit.optimizers import Amos, amos_param_groups
from tests.reference.amos import amos_trajectory
from tests.training.runs import same_weights, small_model, trainer


def trajectory(theta: Tensor, gradients: Tensor, group: dict[str, Any], **options: Any) -> list[Tensor]:
    parameter = nn.Parameter(theta.clone())
    optimizer = Amos([{"params": [parameter], **group}], **options)
    states = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        states.append(parameter.detach().clone())
    return states


@given(
    seed=st.integers(0, 999),
    axis=st.sampled_from([None, 0, 1]),
    momentum=st.sampled_from([0.0, 0.9]),
    extra_l2=st.sampled_from([0.0, 0.01]),
    beta=st.sampled_from([0.9, 0.999]),
    lr=st.sampled_from([0.5, 0.01]),
)
@settings(max_examples=40)
def test_the_trajectory_is_that_of_the_formula(
    seed: int, axis: int | None, momentum: float, extra_l2: float, beta: float, lr: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    gradients = torch.randn(6, 3, 4, generator=generator, dtype=torch.float64)
    found = trajectory(
        theta, gradients, {"eta": 0.3, "slot_axis": axis}, lr=lr, beta=beta, momentum=momentum, extra_l2=extra_l2
    )
    options = {"lr": lr, "eta": 0.3, "axis": axis, "beta": beta, "extra_l2": extra_l2, "momentum": momentum}
    expected = amos_trajectory(theta.numpy(), gradients.numpy(), **options)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-12)


def test_further_weight_decay_makes_weights_smaller() -> None:
    """``(gamma - extra_l2) / 2`` in place of ``gamma / 2 + extra_l2``, as one port has it, makes them grow."""
    theta = torch.ones(8, 8, dtype=torch.float64)
    gradients = torch.randn(200, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    group = {"eta": 0.1, "slot_axis": None}
    plain = trajectory(theta, gradients, group, lr=0.01)[-1].norm()
    decayed = trajectory(theta, gradients, group, lr=0.01, extra_l2=0.01)[-1].norm()
    wrong, b, v = theta.clone(), 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        g2 = gradient.square().mean().item()
        v = 0.999 * v + 0.001 * g2
        r = (1 - 0.999**step) / v
        gamma = 1e-4 * r * g2 / (1 + 0.025 * b) ** 0.5
        d = 1 / (1 + 0.25 * 0.001**0.5 * b)
        wrong = wrong - d * ((gamma - 0.01) / 2 * wrong + 0.001 * r**0.5 * gradient)
        b += gamma * (1 + b)
    assert decayed < 0.2 * plain
    assert wrong.norm() > 2 * plain


def test_a_rescaled_parametrisation_with_its_scale_trains_alike() -> None:
    """W / s on inputs that are s times as large: exactly alike without decay of rates, of which eta has a part."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 5, 4, generator=generator, dtype=torch.float64)
    targets = torch.randn(30, 5, 3, generator=generator, dtype=torch.float64)
    start = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def outputs(scale: float, zeta: float) -> Tensor:
        weight = nn.Parameter(start / scale)
        optimizer = Amos([{"params": [weight], "eta": 0.5 / scale, "slot_axis": 0}], lr=0.1, zeta=zeta)
        made = []
        for x, y in zip(inputs, targets, strict=True):
            predicted = (x * scale) @ weight.T
            made.append(predicted.detach())
            optimizer.zero_grad()
            (predicted - y).square().mean().backward()
            optimizer.step()
        return torch.stack(made)

    torch.testing.assert_close(outputs(64.0, 0.0), outputs(1.0, 0.0), rtol=0, atol=1e-10)
    torch.testing.assert_close(outputs(64.0, 0.25)[:2], outputs(1.0, 0.25)[:2], rtol=0, atol=1e-10)
    assert not torch.allclose(outputs(64.0, 0.25)[-1], outputs(1.0, 0.25)[-1], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slots_are_small_wide_and_kept(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 3)).to(dtype)

    def train(optimizer: Amos, trained: nn.Module, steps: int) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            trained(torch.tensor([step % 7, 2])).square().sum().backward()
            optimizer.step()

    optimizer = Amos(amos_param_groups(model), lr=0.01, momentum=0.9)
    train(optimizer, model, 3)
    assert [tuple(optimizer.state[p]["v"].shape) for p in model.parameters()] == [(7, 1), (3, 1), (1,)]
    assert all(state[name].dtype == torch.float32 for state in optimizer.state.values() for name in ("v", "b"))
    again = copy.deepcopy(model)
    other = Amos(amos_param_groups(again), lr=0.01, momentum=0.9)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, model, 3)
    train(other, again, 3)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        for name in ("v", "b", "momentum"):
            assert torch.equal(optimizer.state[ours][name], other.state[theirs][name])


def test_rows_without_a_gradient_stay_finite() -> None:
    model = nn.Embedding(5, 4)
    optimizer = Amos(amos_param_groups(model), lr=0.1)
    before = model.weight.detach().clone()
    model(torch.tensor([1])).sum().backward()
    optimizer.step()
    assert model.weight.isfinite().all() and not torch.equal(model.weight[1], before[1])
    assert torch.equal(model.weight[2:], before[2:])


SETTINGS = ("lr", "beta", "zeta", "momentum", "clip_value", "extra_l2")


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ({}, {}, r"scale of each tensor: give it amos_param_groups\(model\), not parameters"),
        ({"eta": 1.0, "weight_decay": 0.1}, {}, r"decays weights by itself: weight_decay=0.1 must be 0"),
        ({"eta": 1.0}, {"beta": 1.0}, r"Amos: beta=1.0: give a finite number at least 0 and below 1"),
        ({"eta": -1.0}, {}, r"Amos: eta=-1.0: give a finite number above 0"),
        ({"eta": float("nan")}, {}, r"Amos: eta=nan: give"),
        ({"eta": 1.0, "lr": float("nan")}, {}, r"Amos: lr=nan: give"),
        *(({"eta": 1.0}, {name: float("nan")}, f"Amos: {name}=nan: give") for name in SETTINGS),
        ({"eta": 1.0}, {"clip_value": 0.0}, r"Amos: clip_value=0.0: give a finite number above 0"),
        ({"eta": 1.0}, {"lr": -1.0}, r"Amos: lr=-1.0: give a finite number at least 0"),
    ],
)
def test_what_amos_cannot_do_is_refused(groups: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Amos([{"params": [nn.Parameter(torch.ones(2))], **groups}], **{"lr": 0.1, **options})


def test_values_are_cut_first() -> None:
    cut = trajectory(torch.ones(2), torch.tensor([[9.0, 1.0]]), {"eta": 1.0}, lr=0.1, clip_value=1.0)
    assert torch.equal(cut[0], trajectory(torch.ones(2), torch.ones(1, 2), {"eta": 1.0}, lr=0.1)[0])


def test_the_trainer_saves_and_resumes_it(tmp_path: Path) -> None:
    def run(folder: str) -> Any:
        model = small_model()
        given = (Amos, {"params": amos_param_groups(model), "lr": 0.05})
        return trainer(
            tmp_path / folder, model=model, options={"optimizer_cls_and_kwargs": given}, save_strategy="steps",
            save_steps=2, lr_scheduler_type="constant_with_warmup", warmup_steps=1,
        )  # fmt: skip

    whole, again = run("whole"), run("again")
    whole.train()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "checkpoint-2")
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same_weights(whole.model, again.model) and not same_weights(whole.model, small_model())
    assert {group["rule"] for group in again.optimizer.param_groups} >= {"matrix", "embedding", "norm", "bias"}
