"""The slow copy: its closed form, its use as BYOL's target, and training that goes on after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nlpkit import TechniqueTrainer
from nlpkit.losses import NonContrastiveLoss, predictor
from nlpkit.training import SimCSE, SlowCopy
from tests.contract.cases import pad_tokens, small_config, token_ids
from tests.contract.stock_heads import stock


def byol(folder: Path, steps: int = 4, **settings: Any) -> tuple[TechniqueTrainer, SlowCopy]:
    model = stock("DebertaV2Model", **small_config(hidden_dropout_prob=0.1))()
    slow = SlowCopy(model, decay=0.9)
    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_steps=2, use_cpu=True, report_to=[], disable_tqdm=True, learning_rate=1e-2,
        **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    data: dict[str, Any] = {"train_dataset": token_ids(), "eval_dataset": token_ids()}
    data |= {"data_collator": lambda rows: pad_tokens(rows, None)}
    loss = NonContrastiveLoss(predictor(16), target=slow.module)
    return TechniqueTrainer(model, arguments, loss=loss, techniques=[SimCSE(), slow], **data), slow


def test_it_follows_by_the_closed_form() -> None:
    model = torch.nn.Linear(2, 2)
    slow = SlowCopy(model, decay=0.75)
    begin = {name: value.clone() for name, value in slow.state_dict().items()}
    expected = dict(begin)
    arguments, state, control = TrainingArguments("unused"), TrainerState(), TrainerControl()
    for step in range(3):
        with torch.no_grad():
            model.weight.add_(step + 1.0)
        slow.on_optimizer_step(arguments, state, control)
        expected["weight"] = 0.75 * expected["weight"] + 0.25 * model.weight.detach()
    torch.testing.assert_close(slow.state_dict()["weight"], expected["weight"])
    assert torch.equal(slow.state_dict()["bias"], begin["bias"])


def test_byol_trains_the_model_and_not_the_copy(tmp_path: Path) -> None:
    trainer, slow = byol(tmp_path)
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    trainer.train()
    model: dict[str, Tensor] = dict(trainer.model.named_parameters())  # type: ignore[union-attr]
    moved = max((model[name] - before[name]).abs().max().item() for name in before)
    followed = max((value - before[name]).abs().max().item() for name, value in slow.state_dict().items())
    assert 0 < followed < moved
    assert all(parameter.grad is None for parameter in slow.module.parameters())


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole, slow = byol(tmp_path / "whole")
    whole.train()
    again, resumed = byol(tmp_path / "again")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, value in slow.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_copy_of_the_best_checkpoint_is_the_one_in_the_end(tmp_path: Path) -> None:
    kept: list[Tensor] = []

    class Watch(TrainerCallback):
        """The first evaluation is the best one."""

        def on_evaluate(self, *args: Any, metrics: Any, **kwargs: Any) -> None:
            kept.append(slow.state_dict()[name].clone())
            metrics["eval_quality"] = -float(len(kept))

    run, slow = byol(
        tmp_path, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True, metric_for_best_model="quality",
        greater_is_better=True,
    )  # fmt: skip
    name = next(iter(slow.state_dict()))
    run.add_callback(Watch())
    run.train()
    assert str(run.state.best_model_checkpoint).endswith("checkpoint-2")
    assert torch.equal(slow.state_dict()[name], kept[0]) and not torch.equal(kept[0], kept[1])


def test_what_it_cannot_follow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"SlowCopy: decay=1 must be in \[0, 1\)"):
        SlowCopy(torch.nn.Linear(1, 1), decay=1)
    with pytest.raises(ValueError, match="SlowCopy follows another model than the one that is trained"):
        TechniqueTrainer(
            torch.nn.Linear(1, 1),
            TrainingArguments(str(tmp_path), use_cpu=True),
            loss=NonContrastiveLoss(predictor(4)),
            techniques=[SlowCopy(torch.nn.Linear(1, 1))],
        )
