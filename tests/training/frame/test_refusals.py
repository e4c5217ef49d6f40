"""What a Trainer refuses, and what it says to do instead."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertForTokenClassification, Trainer, TrainerCallback

from nlpkit import TechniqueTrainer
from nlpkit.losses import DiceLoss, FocalLoss
from nlpkit.optimizers import Amos, amos_param_groups
from nlpkit.training import (
    EMA,
    FGM,
    Flooding,
    GradCache,
    GradientPenalty,
    ImplicitGradient,
    LayerRates,
    MeZO,
    RDrop,
    ScheduledStrength,
    SimCSE,
    linear_strength,
)
from nlpkit.training.frame.refusals import refuse_coupled_parts
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
        ValueError,
        match=r"compute_loss of Weighted does not call TechniqueTrainer's.*CrossEntropyLoss\(class_weights=",
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


@pytest.mark.parametrize("part", [ImplicitGradient(), FGM(at="matrix"), Flooding(0.1, per="micro-batch")])
def test_what_couples_a_batch_is_not_done_on_parts_of_it_by_processes(part: Any) -> None:
    args: Any = SimpleNamespace(gradient_accumulation_steps=1, world_size=2)
    with pytest.raises(ValueError, match=r"couples the rows of a batch, and each of 2 processes has a batch of its"):
        refuse_coupled_parts(None, [part], args)
    refuse_coupled_parts(DiceLoss(), [FGM(), Flooding(0.1)], args)  # which gathers, or need not


@pytest.mark.parametrize(
    "part", [ImplicitGradient(0.0), FGM(at="matrix", weight=0.0), Flooding(0.1, per="micro-batch", weight=0.0)]
)
def test_what_does_not_act_is_not_refused_unless_it_will(part: Any, tmp_path: Path) -> None:
    trainer(tmp_path, [part], gradient_accumulation_steps=2)
    later = ScheduledStrength(part, "weight", linear_strength(0.0, 1.0))
    with pytest.raises(ValueError, match="couples the rows of a batch"):
        trainer(tmp_path, [part, later], gradient_accumulation_steps=2)


@pytest.mark.parametrize(
    ("techniques", "settings"),
    [
        (lambda weight: [GradientPenalty(weight)], {"bf16": True}),
        (lambda weight: [ImplicitGradient(weight)], {"bf16": True}),
        (lambda weight: [GradientPenalty(weight, exact=True)], {}),  # of fused attention
        (lambda weight: [MeZO(), Flooding(0.1, weight=weight)], {}),
        (lambda weight: [GradCache(), FGM(weight=weight)], {"options": {"loss": DiceLoss()}}),
    ],
)
def test_what_cannot_be_done_can_be_left_undone_with_weight_0(
    techniques: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"."):
        trainer(tmp_path, techniques(1.0), **settings)
    trainer(tmp_path, techniques(0.0), **settings).train()
    scheduled = techniques(0.0)
    later = ScheduledStrength(scheduled[-1], "weight", linear_strength(0.0, 1.0))
    with pytest.raises(ValueError, match=r"."):
        trainer(tmp_path, [*scheduled, later], **settings)


def test_weights_count_that_are_set_before_training_and_none_later(tmp_path: Path) -> None:
    technique, plain = RDrop(0.0, dropout=0.1), trainer(tmp_path)
    changed = trainer(tmp_path, [technique])
    assert changed.techniques == [] and changed.callback_handler.callback_list == plain.callback_handler.callback_list
    technique.weight = 1.0
    changed.train()
    assert "r_drop" in changed.state.log_history[0]
    technique.weight = 0.0
    changed.train()
    assert "r_drop" not in changed.state.log_history[0]

    class Late(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            technique.weight = 2.0

    late = trainer(tmp_path, [technique])
    late.add_callback(Late())
    with pytest.raises(ValueError, match=r"RDrop had weight 0 when training began, and has 2.0 now: let ScheduledStr"):
        late.train()


def test_rates_of_a_technique_without_weight_are_not_set(tmp_path: Path) -> None:
    technique = LayerRates(0.5)
    technique.weight = 0.0
    run = trainer(tmp_path, [technique], small_model(BertForTokenClassification))
    assert {group["lr"] for group in run.create_optimizer().param_groups} == {run.args.learning_rate}


def test_a_head_whose_own_loss_couples_rows(tmp_path: Path) -> None:
    class Coupled(BertForTokenClassification):
        def own_loss(self) -> DiceLoss:
            return DiceLoss()

        def forward(self, *args: Any, labels: Any = None, **kwargs: Any) -> Any:
            outputs = super().forward(*args, **kwargs)
            return (
                outputs if labels is None else type(outputs)(self.own_loss()(outputs.logits, labels), outputs.logits)
            )

    settings = {"remove_unused_columns": False}
    with pytest.raises(ValueError, match=r"DiceLoss couples the rows of a batch.*add the technique GradCache"):
        trainer(tmp_path, model=small_model(Coupled), gradient_accumulation_steps=2, **settings).train()
    trainer(tmp_path, model=small_model(Coupled), **settings).train()


def test_an_optimizer_of_an_earlier_model(tmp_path: Path) -> None:
    usual, earlier = trainer(tmp_path), small_model()
    run = TechniqueTrainer(
        args=usual.args, model_init=lambda: small_model(), train_dataset=usual.train_dataset,
        data_collator=usual.data_collator,
        optimizer_cls_and_kwargs=(Amos, {"params": amos_param_groups(earlier), "lr": 0.01}),
    )  # fmt: skip
    with pytest.raises(ValueError, match="Amos holds no parameter of the model that is trained: with model_init="):
        run.train()


def test_a_head_that_fails_stays_in_training_mode(tmp_path: Path) -> None:
    class Fails(BertForTokenClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("out of order")

    failing = small_model(Fails).train()
    with pytest.raises(RuntimeError, match="out of order"):
        trainer(tmp_path, model=failing, steps=1, remove_unused_columns=False).train()
    assert failing.training
