"""Blocks that are let in one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from nlpkit.training import EMA, FGM, Unfreezing
from tests.training.runs import same_weights, small_model, trainer, whole_and_resumed


class Trained(TrainerCallback):
    """The parts of the model that each step has gradients for."""

    def __init__(self) -> None:
        self.steps: list[set[str]] = []

    def on_pre_optimizer_step(self, *args: Any, model: Any, **kwargs: Any) -> None:
        names = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        parts = ("embeddings", "layer.0", "layer.1", "classifier")
        self.steps.append({part for part in parts if any(part in name for name in names)})


HEAD, TOP, ALL = {"classifier"}, {"classifier", "layer.1"}, {"classifier", "layer.1", "layer.0", "embeddings"}


@pytest.mark.parametrize(
    ("technique", "expected"),
    [
        (Unfreezing(every=1 / 8, unit="training"), [HEAD, TOP, TOP | {"layer.0"}, *[ALL] * 5]),
        (Unfreezing(every=1.0), [HEAD] * 4 + [TOP] * 4),  # four steps an epoch
        (Unfreezing(every=0.5), [HEAD] * 2 + [TOP] * 2 + [TOP | {"layer.0"}] * 2 + [ALL] * 2),
    ],
)
def test_blocks_are_let_in_from_the_top(tmp_path: Path, technique: Unfreezing, expected: list[set[str]]) -> None:
    trained = Trained()
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    run = trainer(tmp_path, [technique], model, steps=8, options={"callbacks": [trained]})
    run.train()
    assert trained.steps == expected
    assert all(parameter.requires_grad for parameter in model.parameters())
    moved = {name for name, parameter in model.named_parameters() if not parameter.equal(before[name])}
    assert any("embeddings" in name for name in moved) == (ALL in expected)


def test_what_was_frozen_before_stays_frozen(tmp_path: Path) -> None:
    model = small_model()
    model.bert.embeddings.requires_grad_(False)
    trained = Trained()
    trainer(tmp_path, [Unfreezing(0.25, "training")], model, options={"callbacks": [trained]}).train()
    assert trained.steps[-1] == TOP | {"layer.0"}
    assert not any(parameter.requires_grad for parameter in model.bert.embeddings.parameters())


def test_without_weight_it_is_not_there(tmp_path: Path) -> None:
    off = Unfreezing()
    off.weight = 0.0
    changed, plain = trainer(tmp_path, [off]), trainer(tmp_path)
    changed.train()
    plain.train()
    assert same_weights(changed.model, plain.model)


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole, again = whole_and_resumed(tmp_path, lambda: [Unfreezing(0.25, "training"), EMA()])
    assert same_weights(whole.model, again.model)


class Fails(TrainerCallback):
    """Ends the first run at its first step."""

    def __init__(self, error: BaseException) -> None:
        self.left = [error]

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self.left:
            raise self.left.pop()


def test_after_an_interruption_the_next_run_begins_as_the_first_did(tmp_path: Path) -> None:
    stopped = {"callbacks": [Fails(KeyboardInterrupt())]}
    run = trainer(tmp_path, [Unfreezing(0.25, "training")], options=stopped)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.train()
    assert not any(torch.equal(parameter, before[name]) for name, parameter in run.model.named_parameters())
    assert all(parameter.requires_grad for parameter in run.model.parameters())


def test_adversaries_move_the_output_of_frozen_embeddings(tmp_path: Path) -> None:
    losses = []
    for others in ([], [FGM(0.5, include_clean=False)]):
        run = trainer(tmp_path, [Unfreezing(0.25, "training"), *others], steps=1)
        before = run.model.bert.embeddings.word_embeddings.weight.detach().clone()
        run.train()
        assert torch.equal(run.model.bert.embeddings.word_embeddings.weight, before)
        losses.append(run.state.log_history[0]["loss"])
    assert losses[1] > losses[0]


def test_a_smaller_batch_is_found_with_all_that_is_trained(tmp_path: Path) -> None:
    out_of_memory = torch.OutOfMemoryError("CUDA out of memory.")
    run = trainer(
        tmp_path, [Unfreezing(0.25, "training")], options={"callbacks": [Fails(out_of_memory)]},
        auto_find_batch_size=True,
    )  # fmt: skip
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.train()
    assert run.state.global_step == 4 and run.state.train_batch_size == 1
    assert not any(torch.equal(parameter, before[name]) for name, parameter in run.model.named_parameters())


def test_bad_settings_and_waiting_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Unfreezing: every=0: give a finite number above 0"):
        Unfreezing(0)
    with pytest.raises(ValueError, match=r"Unfreezing: unit='steps' must be 'epochs' or 'training'"):
        Unfreezing(1, "steps")  # type: ignore[arg-type]
    run = trainer(tmp_path, ddp_find_unused_parameters=False)

    class Args:
        world_size, ddp_find_unused_parameters, activation_checkpointing = 2, False, False

    run.args = Args()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"unless ddp_find_unused_parameters=True"):
        Unfreezing().prepare(run)
    Args.ddp_find_unused_parameters = None  # type: ignore[assignment]
    Unfreezing().prepare(run)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"every": 1.0}, "training ends before the embeddings and the lowest 2 of 2 blocks are let in"),
        ({"every": 0.25, "unit": "training"}, ""),
        ({"every": 0.3, "unit": "training"}, "training ends before the embeddings are let in"),
    ],
)
def test_what_a_run_is_too_short_for_is_told(
    settings: Any, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path, [Unfreezing(**settings)]).train()  # four steps, an epoch
    assert (told in caplog.text) if told else "Unfreezing" not in caplog.text
