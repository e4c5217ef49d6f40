"""A training that was interrupted is the one that was not, its seconds and its loss included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from nlpkit.runs import MetricsLog, Training, interrupted_training, read_metrics, train_from_last_checkpoint

#: Rows make five steps per epoch; 14 steps end within the third one.
ROWS, STEPS = 20, 14


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        found = self.layer(input_ids).squeeze(-1)
        return {"loss": (found - labels).square().mean(), "logits": found}


class Clock(TrainerCallback):
    """A step takes a second; some time passes between calls, and one call may be interrupted."""

    def __init__(self, interrupted_at: int | None, event: str) -> None:
        self.now, self.interrupted_at, self.event = 100.0, interrupted_at, event

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.now += 1000.0

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.now += 1.0

    def on_step_end(self, args: Any, state: Any, control: Any, **__: Any) -> None:
        self.interrupt("step", state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **__: Any) -> None:
        self.interrupt("save", state.global_step)

    def interrupt(self, event: str, step: int) -> None:
        if (event, step) == (self.event, self.interrupted_at):
            raise KeyboardInterrupt


Train = Callable[..., tuple[Training, nn.Module]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    def call(folder: Path, interrupted_at: int | None = None, event: str = "step", **more: Any) -> Any:
        torch.manual_seed(0)
        model, rows = Line(), torch.randn(ROWS, 3)
        clock = Clock(interrupted_at, event)
        monkeypatch.setattr(interrupted_training, "perf_counter", lambda: clock.now)
        settings = {"save_steps": 4, "logging_steps": 3, "max_steps": STEPS, "learning_rate": 0.1, **more}
        args = TrainingArguments(
            str(folder),
            per_device_train_batch_size=4,
            lr_scheduler_type="constant",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            save_total_limit=1,
            **settings,
        )
        data: Any = [{"input_ids": row, "labels": row.sum()} for row in rows]
        log = MetricsLog(folder / "metrics.jsonl")
        trainer = Trainer(model, args, train_dataset=data, callbacks=[log, clock])
        return train_from_last_checkpoint(trainer), model

    return call


def events(folder: Path) -> list[tuple[float, float]]:
    return [(event["step"], event["loss"]) for event in read_metrics(folder / "metrics.jsonl") if "loss" in event]


@pytest.mark.parametrize(
    ("interruptions", "more"),
    [
        ([("step", 11)], {}),
        ([("step", 7), ("step", 11)], {"train_sampling_strategy": "group_by_length"}),
        ([("save", 8)], {}),
        ([("step", 3)], {}),
        ([("step", 11)], {"save_strategy": "epoch"}),
        ([("step", 11)], {"restore_callback_states_from_checkpoint": True}),
    ],
)
def test_it_ends_as_the_uninterrupted_one(
    train: Train, tmp_path: Path, interruptions: list[tuple[str, int]], more: dict[str, Any]
) -> None:
    expected, model = train(tmp_path / "whole", **more)
    assert (expected.steps, expected.seconds) == (STEPS, STEPS)
    for event, step in interruptions:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", step, event, **more)
    assert any((tmp_path / "cut").glob("checkpoint-*")) == (interruptions != [("step", 3)])
    found, resumed = train(tmp_path / "cut", **more)
    assert found == expected
    assert torch.equal(resumed.layer.weight, model.layer.weight)  # type: ignore[union-attr, arg-type]
    assert events(tmp_path / "cut") == events(tmp_path / "whole")


@pytest.mark.parametrize("steps", [STEPS, 15])  # within an epoch, and at the end of one
def test_one_whose_last_step_was_made_makes_no_other(train: Train, tmp_path: Path, steps: int) -> None:
    expected, model = train(tmp_path / "whole", max_steps=steps)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", steps, "save", max_steps=steps)
    for _ in range(2):
        found, resumed = train(tmp_path / "cut", max_steps=steps)
        assert found == expected and found.seconds == steps
        assert torch.equal(resumed.layer.weight, model.layer.weight)  # type: ignore[union-attr, arg-type]


def test_the_loss_is_that_of_the_trainer(train: Train, tmp_path: Path) -> None:
    found, _ = train(tmp_path, save_strategy="no", logging_strategy="no")
    (summary,) = (event for event in read_metrics(tmp_path / "metrics.jsonl") if "train_loss" in event)
    assert found.loss == pytest.approx(summary["train_loss"], rel=1e-6)


def test_a_checkpoint_without_seconds_is_told(train: Train, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 11)
    path = tmp_path / "checkpoint-8" / "trainer_state.json"
    state = json.loads(path.read_text("utf-8"))
    del state["stateful_callbacks"]["TrainingClock"]
    path.write_text(json.dumps(state), "utf-8")
    with pytest.warns(UserWarning, match=r"the checkpoint of step 8 in .* holds no seconds"):
        found, _ = train(tmp_path)
    assert (found.steps, found.seconds) == (STEPS, STEPS - 8)
