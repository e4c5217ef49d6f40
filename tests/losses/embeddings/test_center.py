"""Center loss: its value, its centers, and where features come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from nlpkit import TechniqueTrainer
from nlpkit.losses import (
    CenterLoss,
    CrossEntropyLoss,
    DiceLoss,
    FunctionLoss,
    InfoNCELoss,
    SoftF1Loss,
    SpanLoss,
    ZLPRLoss,
)
from nlpkit.training import GradCache
from tests.contract.cases import classified_rows, pad_tokens
from tests.contract.stock_heads import HEADS
from tests.losses.test_loss import drawn

LABELS = torch.tensor([0, 1, 1, -100])
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
_BY_NAME = {case.name: case for case in HEADS}


class Outputs(dict[str, Any]):
    """Logits of shape ``(4, 3)`` and features of shape ``(4, 2)``."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(logits=drawn(4, 3, seed=seed).requires_grad_(), features=drawn(4, 2, seed=seed + 10))


def make(**options: Any) -> CenterLoss:
    return CenterLoss(CrossEntropyLoss(), 3, 2, features=lambda outputs: outputs["features"], **options).double()


def distance(features: Tensor, centers: Tensor) -> Tensor:
    known = LABELS != -100
    return (features[known] - centers[LABELS[known]]).square().sum() / 2 / known.sum()


def test_learnt_centers_are_parameters_that_begin_at_nothing() -> None:
    loss, outputs = make(momentum=None, weight=0.3), Outputs()
    found = loss(outputs, LABELS)
    expected = CrossEntropyLoss()(outputs, LABELS) + 0.3 * distance(outputs["features"], torch.zeros(3, 2))
    torch.testing.assert_close(found, expected, **EXACT)
    found.backward()
    (centers,) = loss.parameters()
    assert centers.grad is not None
    torch.testing.assert_close(centers.grad[1], -0.3 * outputs["features"][1:3].sum(0) / 3, **EXACT)


def test_moving_centers_are_the_means_of_steps_that_are_done() -> None:
    loss, steps = make(momentum=0.5, weight=1.0), [Outputs(seed) for seed in range(3)]
    found = [loss(outputs, LABELS) - CrossEntropyLoss()(outputs, LABELS) for outputs in steps]
    assert found[0].item() == 0
    first, second = (outputs["features"] for outputs in steps[:2])
    old = torch.stack([first[0], first[1:3].mean(0), first[3]])
    torch.testing.assert_close(found[1], distance(second, old), **EXACT)
    both = torch.stack([(first[0] + 2 * second[0]) / 3, (first[1:3].mean(0) + 2 * second[1:3].mean(0)) / 3, first[3]])
    torch.testing.assert_close(found[2], distance(steps[2]["features"], both), **EXACT)
    assert loss.centers[2].isnan().all() and not list(loss.parameters())


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_parts_of_a_step_add_up_to_the_whole(momentum: float | None) -> None:
    whole, parts = make(momentum=momentum), make(momentum=momentum)
    for seed in range(3):
        outputs, items = Outputs(seed), torch.tensor(3)
        pieces = [{name: value[n : n + 2] for name, value in outputs.items()} for n in (0, 2)]
        total = sum(
            parts(piece, LABELS[n : n + 2], num_items_in_batch=items) for n, piece in zip((0, 2), pieces, strict=True)
        )
        torch.testing.assert_close(total, whole(outputs, LABELS), **EXACT)


def test_in_evaluation_the_loss_is_the_tasks() -> None:
    loss, outputs = make(momentum=None), Outputs()
    with torch.no_grad():
        assert loss(outputs, LABELS) == CrossEntropyLoss()(outputs, LABELS)
        assert loss.terms(outputs, {"labels": LABELS}, {}).keys() == {"loss"}
        assert "output_hidden_states" not in CenterLoss(CrossEntropyLoss(), 3, 2).inputs_of({"labels": LABELS})


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_features_are_the_last_hidden_states(name: str) -> None:
    case = _BY_NAME[name]
    model, batch = case.model().eval(), case.collate(case.rows(), None)
    loss = CenterLoss(CrossEntropyLoss(), 5, 16, weight=1.0, momentum=None)
    outputs = model(**loss.inputs_of(batch))
    states = outputs.hidden_states[-1]
    chosen = batch["labels"] != -100
    features = (states[:, 0] if name == "BertForSequenceClassification" else states)[chosen]
    torch.testing.assert_close(loss.terms(outputs, batch, {})["center"], features.square().sum(-1).mean() / 2)


def test_it_trains_and_draws_classes_together(tmp_path: Path) -> None:
    case = _BY_NAME["BertForSequenceClassification"]
    pulls = {}
    for weight in (0.0, 1.0):
        arguments = TrainingArguments(
            str(tmp_path), max_steps=15, logging_steps=1, per_device_train_batch_size=8, learning_rate=1e-2,
            use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
        )  # fmt: skip
        loss = CenterLoss(CrossEntropyLoss(), 5, 16, weight=weight)
        trainer = TechniqueTrainer(
            case.model(), arguments, train_dataset=classified_rows(), eval_dataset=classified_rows(),
            data_collator=lambda rows: pad_tokens(rows, None), loss=loss,
        )  # fmt: skip
        trainer.train()
        assert {"task_loss", "center"} <= trainer.state.log_history[0].keys()
        assert trainer.predict(classified_rows()).predictions.shape == (8, 5)
        batch = pad_tokens(classified_rows(), None)
        states = trainer.model.eval()(**batch, output_hidden_states=True).hidden_states[-1][:, 0]
        gaps = [(states[n] - states[n + 5]).norm().item() for n in range(3)]  # rows of one class
        pulls[weight] = sum(gaps)
    assert pulls[1.0] < 0.7 * pulls[0.0]


def test_what_couples_rows_inside_couples_them_outside(tmp_path: Path) -> None:
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, gradient_accumulation_steps=2, use_cpu=True, report_to=[], save_strategy="no"
    )
    for task in (DiceLoss(), SoftF1Loss(), InfoNCELoss()):
        loss = CenterLoss(task, 5, 16)
        with pytest.raises(ValueError, match=r"CenterLoss couples the rows of a batch, .*=2 .*: set it to 1$"):
            TechniqueTrainer(_BY_NAME["BertForSequenceClassification"].model(), arguments, loss=loss)
        cached = TechniqueTrainer(
            _BY_NAME["BertForSequenceClassification"].model(), arguments, loss=loss, techniques=[GradCache()],
            train_dataset=classified_rows(), data_collator=lambda rows: pad_tokens(rows, None),
        )  # fmt: skip
        with pytest.raises(ValueError, match=r"GradCache joins a BatchLoss alone, and CenterLoss is one with"):
            cached.train()


def test_whatever_a_loss_answers_is_the_inner_ones() -> None:
    span, zlpr = SpanLoss(masks_padding=True), ZLPRLoss(gamma=0.5)
    batch = {
        "attention_mask": torch.tensor([[1, 1, 0]]),
        "start_positions": torch.tensor([0]),
        "end_positions": torch.tensor([2]),
    }
    scores = {"start_logits": drawn(1, 3), "end_logits": drawn(1, 3)}
    around = CenterLoss(span, 3, 2)
    assert around.columns == span.columns
    assert torch.equal(around.logits_in(scores, batch), span.logits_in(scores, batch))
    assert around.items_of(batch) == span.items_of(batch) | {"center": torch.tensor(1)}
    labels, logits = torch.tensor([[1, 0, -100]]), drawn(1, 3)
    assert CenterLoss(zlpr, 3, 2).labels_per_item(labels) == 3
    found = CenterLoss(zlpr, 3, 2).divergence
    assert found is not None and zlpr.divergence is not None
    assert torch.equal(found.directed(logits, 2 * logits), zlpr.divergence.directed(logits, 2 * logits))
    with pytest.raises(TypeError, match=r"DiceLoss is a loss of nlpkit: give it as it is, without FunctionLoss"):
        FunctionLoss(DiceLoss())


def test_the_default_weight_is_the_sources() -> None:
    outputs = Outputs()
    found = CenterLoss(CrossEntropyLoss(), 3, 2, momentum=None, features=lambda given: given["features"]).double()
    task, pull = CrossEntropyLoss()(outputs, LABELS), distance(outputs["features"], torch.zeros(3, 2))
    items = int((LABELS != -100).sum())
    torch.testing.assert_close(items * found(outputs, LABELS), items * task + 0.003 * items * pull, **EXACT)


def test_what_does_not_fit_is_named() -> None:
    outputs = Outputs()
    with pytest.raises(ValueError, match=r"returned no hidden_states to take features from: train by"):
        CenterLoss(CrossEntropyLoss(), 3, 2)(outputs, LABELS)
    with pytest.raises(ValueError, match=r"features are of shape \(4, 2\), and dim=7 with labels of shape \(4,\)"):
        CenterLoss(CrossEntropyLoss(), 3, 7, features=lambda outputs: outputs["features"])(outputs, LABELS)
    with pytest.raises(ValueError, match="labels hold 1, but num_classes gives 1 classes"):
        CenterLoss(CrossEntropyLoss(), 1, 2, features=lambda outputs: outputs["features"])(outputs, LABELS)
    with pytest.raises(ValueError, match="weight=-1: give a finite number at least 0"):
        CenterLoss(CrossEntropyLoss(), 3, 2, -1)
    weighted = CenterLoss(
        CrossEntropyLoss(class_weights=[1.0, 2.0, 3.0]), 3, 2, features=lambda outputs: outputs["features"]
    )
    with pytest.raises(ValueError, match=r"one number of items is not both; give the loss to TechniqueTrainer"):
        weighted.average(outputs, LABELS, torch.tensor(5.0))
