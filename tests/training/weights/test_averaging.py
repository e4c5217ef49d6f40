"""Averages of weights: what they are, when they are in the model, and what is saved of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

from nlpkit.losses import CenterLoss, CrossEntropyLoss
from nlpkit.training import EMA, SWA, Technique
from tests.training.runs import same_weights, small_model, trainer, whole_and_resumed

NAME = "classifier.weight"


class Watch(TrainerCallback):
    """Keeps a weight after every step."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_step_end(self, *args: Any, model: Any, **kwargs: Any) -> None:
        self.seen.append(model.state_dict()[NAME].clone())


def train(folder: Path, technique: Technique, **settings: Any) -> tuple[Any, list[Tensor]]:
    watch = Watch()
    run = trainer(folder, [technique], options={"callbacks": [watch]}, **settings)
    run.train()
    return run, watch.seen


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_average_is_that_of_the_steps(tmp_path: Path, accumulation: int) -> None:
    run, seen = train(tmp_path, EMA(0.6), steps=5, gradient_accumulation_steps=accumulation)
    assert len(seen) == 5
    average = seen[0]
    for steps, weight in enumerate(seen[1:], start=1):
        decay = min(0.6, (1 + steps) / (10 + steps))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(run.model.state_dict()[NAME], average)
    assert not torch.allclose(average, seen[-1], atol=1e-4)


def test_without_warmup_the_decay_is_one_number(tmp_path: Path) -> None:
    run, seen = train(tmp_path, EMA(0.5, warmup=False), steps=4)
    closed = sum(weight * share for weight, share in zip(seen, (0.125, 0.125, 0.25, 0.5), strict=True))
    torch.testing.assert_close(run.model.state_dict()[NAME], closed)


def test_a_plain_average_begins_late(tmp_path: Path) -> None:
    run, seen = train(tmp_path, SWA(start=0.5), steps=6)
    torch.testing.assert_close(run.model.state_dict()[NAME], torch.stack(seen[3:]).mean(0))
    run, seen = train(tmp_path, SWA(start=0.5, every=2), steps=6)
    torch.testing.assert_close(run.model.state_dict()[NAME], torch.stack([seen[3], seen[5]]).mean(0))


def test_training_itself_is_the_plain_one_to_the_bit(tmp_path: Path) -> None:
    _, averaged = train(tmp_path, EMA(), steps=3, eval_strategy="steps", eval_steps=1)
    _, plain = train(tmp_path, Technique(), steps=3)
    assert all(map(torch.equal, averaged, plain))
    off = EMA()
    off.weight = 0.0
    run, _ = train(tmp_path, off, steps=3)
    assert torch.equal(run.model.state_dict()[NAME], plain[-1])


def test_evaluation_has_the_average(tmp_path: Path) -> None:
    run = trainer(tmp_path, [EMA(0.9)], steps=4, eval_strategy="steps", eval_steps=4)
    found: list[Tensor] = []
    plain = run.prediction_step

    def prediction_step(model: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(model.state_dict()[NAME].clone())
        return plain(model, *args, **kwargs)

    run.prediction_step = prediction_step  # type: ignore[method-assign]
    run.train()
    assert torch.equal(found[0], run.model.state_dict()[NAME])  # as at the end
    logged = next(entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry)
    assert run.evaluate()["eval_loss"] == logged


def test_an_evaluation_that_fails_leaves_the_trained_weights(tmp_path: Path) -> None:
    run = trainer(tmp_path, [EMA(0.9)], steps=3, eval_strategy="steps", eval_steps=3)
    weights: list[Tensor] = []

    def fail(model: Any, *args: Any, **kwargs: Any) -> Any:
        weights.append(model.state_dict()[NAME].clone())
        raise RuntimeError("no memory")

    run.prediction_step = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no memory"):
        run.train()
    plain = trainer(tmp_path, steps=3)
    plain.train()
    assert same_weights(run.model, plain.model) and not torch.equal(weights[0], plain.model.state_dict()[NAME])


@pytest.mark.parametrize("make", [EMA, lambda: SWA(start=0.25)])
def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path, make: Any) -> None:
    whole, again = whole_and_resumed(tmp_path, lambda: [make()])
    assert same_weights(whole.model, again.model)


def test_the_average_of_the_best_checkpoint_is_the_model_in_the_end(tmp_path: Path) -> None:
    def metrics(_: Any) -> dict[str, float]:
        counts.append(1)
        return {"quality": float(len(counts) == 2)}  # the second evaluation is the best one

    counts: list[int] = []
    run = trainer(
        tmp_path, [Technique(), EMA(0.9)], options={"compute_metrics": metrics}, steps=6, eval_strategy="steps",
        eval_steps=2, save_strategy="steps", save_steps=2, load_best_model_at_end=True,
        metric_for_best_model="quality",
    )  # fmt: skip
    run.train()
    assert run.state.best_model_checkpoint.endswith("checkpoint-4")
    saved = load_file(tmp_path / "checkpoint-4" / "techniques.safetensors")
    assert torch.equal(run.model.state_dict()[NAME], saved[f"ema/average.{NAME}"])
    trained = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert not torch.equal(run.model.state_dict()[NAME], trained[NAME])
    run.save_model(str(tmp_path / "end"))
    assert torch.equal(load_file(tmp_path / "end" / "model.safetensors")[NAME], saved[f"ema/average.{NAME}"])


def test_what_does_not_act_has_no_average_to_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    off = EMA(0.9)
    off.weight = 0.0
    run = trainer(
        tmp_path, [off], steps=2, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        load_best_model_at_end=True,
    )  # fmt: skip
    run.train()
    assert "begins anew" not in caplog.text


def test_weights_in_bf16_have_an_average_in_fp32(tmp_path: Path) -> None:
    run = trainer(
        tmp_path, [EMA(0.999, warmup=False)], small_model().bfloat16(), steps=3, save_strategy="steps", save_steps=3
    )
    run.train()
    saved = load_file(tmp_path / "checkpoint-3" / "techniques.safetensors")
    average = saved[f"ema/average.{NAME}"]
    assert average.dtype == torch.float32 and not torch.equal(average, average.bfloat16().float())
    assert torch.equal(run.model.state_dict()[NAME], average.bfloat16())


def test_only_what_is_trained_is_averaged(tmp_path: Path) -> None:
    model = small_model()
    model.bert.requires_grad_(False)
    run = trainer(tmp_path, [EMA()], model, steps=1, save_strategy="steps", save_steps=1)
    run.train()
    saved = load_file(tmp_path / "checkpoint-1" / "techniques.safetensors")
    assert saved.keys() == {"ema/average.classifier.weight", "ema/average.classifier.bias", "ema/averaged"}
    with pytest.raises(ValueError, match=r"EMA: the checkpoint's average is of other weights: average.bert"):
        other = EMA()
        run = trainer(tmp_path, [other], steps=1)
        other.load_state_dict({name.removeprefix("ema/"): value for name, value in saved.items()})
        run.train()


def test_the_parameters_of_a_loss_are_averaged_too(tmp_path: Path) -> None:
    """They are what is trained, as the model's are: evaluation and the end have one average of all."""
    loss = CenterLoss(CrossEntropyLoss(), 5, 16, momentum=None)
    seen: list[Tensor] = []

    class See(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            seen.append(loss.learnt.detach().clone())  # type: ignore[union-attr]

    run = trainer(
        tmp_path, [EMA(0.5, warmup=False)], small_model(num_labels=5), options={"loss": loss, "callbacks": [See()]},
        save_strategy="steps", save_steps=2,
    )  # fmt: skip
    run.train()
    closed = sum(weight * share for weight, share in zip(seen, (0.125, 0.125, 0.25, 0.5), strict=True))
    torch.testing.assert_close(loss.learnt.detach(), closed)  # type: ignore[union-attr]
    assert not torch.equal(loss.learnt.detach(), seen[-1])  # type: ignore[union-attr]
    assert "ema/average.loss.learnt" in load_file(tmp_path / "checkpoint-2" / "techniques.safetensors")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"EMA: decay=1.0 must be in \[0, 1\)"):
        EMA(1.0)
    with pytest.raises(ValueError, match=r"SWA: start=1: give a finite number at least 0 and below 1"):
        SWA(start=1)
