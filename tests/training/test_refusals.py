"""What a Trainer refuses, and what it says to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Trainer

from nlpkit import TechniqueTrainer
from nlpkit.losses import DiceLoss, FocalLoss
from nlpkit.training import EMA, FGM, Flooding, ImplicitGradient, RDrop, ScheduledStrength, SimCSE, linear_strength
from tests.training.runs import small_model, trainer


@pytest.mark.parametrize("cls", [Trainer, TechniqueTrainer])
@pytest.mark.parametrize("technique", [FGM, EMA])
def test_techniques_among_the_callbacks(cls: Any, technique: Any, tmp_path: Path) -> None:
    usual = trainer(tmp_path)
    told = rf"{technique.__name__} is a technique: give it to TechniqueTrainer as techniques=\[...\]"
    with pytest.raises(ValueError, match=told):
        cls(usual.model, usual.args, callbacks=[technique()])


def test_techniques_that_are_added_as_callbacks(tmp_path: Path) -> None:
    run = trainer(tmp_path, [RDrop()])
    run.add_callback(FGM())
    with pytest.raises(ValueError, match="FGM is a technique: give it to TechniqueTrainer"):
        run.train()


def test_a_compute_loss_that_goes_another_way(tmp_path: Path) -> None:
    class Weighted(TechniqueTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            loss: Tensor = model(**inputs).loss
            return loss * 2

    class Doubled(TechniqueTrainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return super().compute_loss(*args, **kwargs) * 2

    usual = trainer(tmp_path, steps=1)
    data = {"train_dataset": usual.train_dataset, "data_collator": usual.data_collator}
    with pytest.raises(
        ValueError, match=r"compute_loss of Weighted does not call TechniqueTrainer's.*FocalLoss\(gamma=0"
    ):
        Weighted(small_model(), usual.args, **data).train()
    Doubled(small_model(), usual.args, **data).train()


@pytest.mark.parametrize("loss", [FocalLoss, torch.nn.CrossEntropyLoss(), torch.nn.functional.cross_entropy, "focal"])
def test_what_is_no_loss(loss: Any, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"is no function of \(outputs, labels, num_items_in_batch=...\): give an object"
    ):
        trainer(tmp_path, options={"loss": loss})


def test_what_is_no_list_of_techniques(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"techniques is a FGM: give a list, techniques=\[...\]"):
        trainer(tmp_path, FGM())  # type: ignore[arg-type]


def test_simcse_without_a_loss(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"SimCSE makes pairs .*, and that of the head is none: give loss=InfoNCELoss"
    ):
        trainer(tmp_path, [SimCSE()])


@pytest.mark.parametrize(
    ("part", "joins"), [(DiceLoss(), True), (ImplicitGradient(), False), (FGM(at="matrix"), False)]
)
def test_grad_cache_is_named_where_it_helps(part: Any, joins: bool, tmp_path: Path) -> None:
    given = {"options": {"loss": part}} if joins else {"techniques": [part]}
    with pytest.raises(ValueError, match="couples the rows of a batch") as told:
        trainer(tmp_path, gradient_accumulation_steps=2, **given)
    assert ("GradCache()" in str(told.value)) == joins


@pytest.mark.parametrize(
    "part", [ImplicitGradient(0.0), FGM(at="matrix", weight=0.0), Flooding(0.1, per="micro-batch", weight=0.0)]
)
def test_what_does_not_act_is_not_refused_unless_it_will(part: Any, tmp_path: Path) -> None:
    trainer(tmp_path, [part], gradient_accumulation_steps=2)
    later = ScheduledStrength(part, "weight", linear_strength(0.0, 1.0))
    with pytest.raises(ValueError, match="couples the rows of a batch"):
        trainer(tmp_path, [part, later], gradient_accumulation_steps=2)
