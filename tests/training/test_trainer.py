"""The one Trainer in use: losses that are given, heads that are refused, logs, checkpoints, PEFT and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedModel,
    TrainingArguments,
)

from nlpkit import TechniqueTrainer
from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import FGM, RDrop, Technique
from tests.contract.cases import classified_rows, pad_tokens, small_config, tagged_rows


def model(cls: Any = BertForTokenClassification, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    made: PreTrainedModel = cls(BertConfig(**small_config(**settings)))
    return made


def trainer(
    folder: Path, made: nn.Module, rows: Any = tagged_rows, steps: int = 2, settings: Any = None, **options: Any
) -> TechniqueTrainer:
    arguments = TrainingArguments(
        str(folder),
        max_steps=steps,
        logging_steps=1,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        **(settings or {}),
    )
    data = {"train_dataset": rows(), "eval_dataset": rows(), "data_collator": lambda batch: pad_tokens(batch, None)}
    return TechniqueTrainer(made, arguments, **data, **options)


class Drift(Technique):
    """Adds a term, and keeps a count in checkpoints."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.count = weight, torch.tensor(0)

    def terms(self, terms: Any, outputs: Any, batch: Any, items: Any) -> Any:
        self.count = self.count + 1
        return terms | {self.name: self.weight * outputs["logits"].square().mean()}

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.count = state["count"]


def test_terms_are_logged_by_name_and_add_up(tmp_path: Path) -> None:
    run = trainer(tmp_path, model(), techniques=[Drift(), FGM()])
    run.train()
    first = run.state.log_history[0]
    names = {"task_loss", "drift", "fgm/loss", "fgm/drift"}
    assert names < first.keys()
    assert sum(first[name] for name in names) == pytest.approx(first["loss"], abs=1e-4)


def test_a_function_is_a_loss(tmp_path: Path) -> None:
    def doubled(outputs: Any, labels: Tensor, num_items_in_batch: Any) -> Tensor:
        total = F.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return 2 * total / num_items_in_batch

    losses = []
    for loss in (None, doubled):
        run = trainer(tmp_path / str(loss is None), model(), steps=1, loss=loss)
        run.train()
        losses.append(run.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(2 * losses[0], abs=1e-3)


def test_evaluation_has_the_tasks_loss_alone(tmp_path: Path) -> None:
    made = model()
    run = trainer(tmp_path, made, techniques=[Drift(9.0)])
    found = run.evaluate()["eval_loss"]
    batch = pad_tokens(tagged_rows(), None)
    with torch.no_grad():
        expected = made.eval()(**batch).loss.item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_label_smoothing_is_the_trainers(tmp_path: Path) -> None:
    settings = {"label_smoothing_factor": 0.1, "per_device_eval_batch_size": 8}
    run = trainer(tmp_path, model(), settings=settings)
    batch = pad_tokens(tagged_rows(), None)
    logits = run.model.eval()(**batch).logits
    expected = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), label_smoothing=0.1).item()
    assert run.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-4)


def test_the_kind_of_problem_is_learnt_from_the_labels_as_the_head_does(tmp_path: Path) -> None:
    def rows() -> Any:
        return [{**row, "labels": torch.eye(5)[number % 5]} for number, row in enumerate(classified_rows())]

    def collate(batch: Any) -> Any:
        inputs = pad_tokens([{"input_ids": row["input_ids"]} for row in batch], None)
        return inputs | {"labels": torch.stack([row["labels"] for row in batch])}

    run = trainer(tmp_path, model(BertForSequenceClassification), rows)
    run.data_collator = collate
    run.train()
    assert run.model.config.problem_type == "multi_label_classification"


class Penalised(BertForTokenClassification):
    """A head that adds something of its own."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        if output.loss is not None:
            output.loss = output.loss + 1
        return output


def test_heads_that_are_not_known_or_add_to_their_loss_are_refused_by_name(tmp_path: Path) -> None:
    rows = [{"input_ids": row["input_ids"], "labels": torch.tensor(0)} for row in classified_rows()]
    with pytest.raises(ValueError, match=r"loss of BertForNextSentencePrediction is not known: give loss="):
        trainer(tmp_path, model(BertForNextSentencePrediction), lambda: rows).train()
    settings = {"remove_unused_columns": False}
    with pytest.raises(ValueError, match=r"head of Penalised has a loss of .* where CrossEntropyLoss\(\) has"):
        trainer(tmp_path, model(Penalised), settings=settings).train()
    trainer(tmp_path, model(Penalised), settings=settings, loss=CrossEntropyLoss()).train()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"compute_loss_func": print}, ValueError, "give compute_loss_func as loss="),
        ({"techniques": [print]}, TypeError, r"techniques\[0\] is a builtin_function_or_method, not a Technique"),
    ],
)
def test_what_is_no_loss_or_technique_is_refused(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        trainer(tmp_path, model(), **options)


def test_fp16_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be trained in float16"):
        trainer(tmp_path, model().half()).train()


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    settings = {"save_steps": 2}
    dropout = {"hidden_dropout_prob": 0.1}

    def run(folder: str, steps: int) -> TechniqueTrainer:
        techniques = [Drift(0.1), RDrop(), FGM(0.1)]
        return trainer(tmp_path / folder, model(**dropout), steps=steps, settings=settings, techniques=techniques)

    whole = run("whole", 4)
    whole.train()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "checkpoint-2")
    again = run("again", 4)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert torch.equal(again.techniques[0].state_dict()["count"], whole.techniques[0].state_dict()["count"])
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.model.state_dict().items())


def test_peft_gradient_checkpointing_and_bf16_train(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    made = peft.get_peft_model(model(), peft.LoraConfig(task_type="TOKEN_CLS", target_modules=["query"]))
    run = trainer(
        tmp_path, made, steps=3, techniques=[FGM(at=made.base_model.model.bert.encoder.layer[0])],
        settings={"gradient_checkpointing": True, "bf16": True},
    )  # fmt: skip
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert all(loss == loss for loss in losses)


class Scaled(CrossEntropyLoss):
    """Cross-entropy of logits times a number that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits * self.factor


def test_parameters_of_a_loss_have_the_gradient_of_each_step_alone(tmp_path: Path) -> None:
    """SGD with a rate of 0 for the model: its parameter sees the same batches at the same weights, step by step."""
    loss, seen = Scaled(), []

    class Watch(Technique):
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            assert loss.factor.grad is not None
            seen.append(loss.factor.grad.item())

    settings = {"learning_rate": 0.0, "optim": "sgd", "train_sampling_strategy": "sequential", "save_strategy": "no"}
    run = trainer(tmp_path, model(), steps=4, settings=settings, loss=loss, techniques=[Watch()])
    run.train()
    assert seen[:2] == pytest.approx(seen[2:], rel=1e-5) and seen[0] != pytest.approx(seen[1], rel=1e-3)


@pytest.mark.parametrize("max_norm", [0.0, 1e-4])
def test_gradients_of_a_loss_are_clipped_as_the_models_are(max_norm: float, tmp_path: Path) -> None:
    loss = Scaled()
    settings = {"learning_rate": 1.0, "optim": "sgd", "max_grad_norm": max_norm, "lr_scheduler_type": "constant"}
    run = trainer(tmp_path, model(), steps=1, settings=settings, loss=loss)
    run.train()
    moved = abs(loss.factor.item() - 1)
    assert moved > 1e-3 if max_norm == 0 else moved == pytest.approx(max_norm, rel=1e-2)
