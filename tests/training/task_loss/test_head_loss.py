"""Comparing a head's own loss with the one that is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.losses import ZLPRLoss
from nlpkit.training import TechniqueTrainer
from tests.contract.cases import classified_rows, token_ids
from tests.training.runs import small_model, trainer

IDS = torch.arange(8 * 6).view(8, 6) % 30 + 5


def train(folder: Path, model: Any, rows: list[Any], **settings: Any) -> list[float]:
    """Losses of four steps of two rows, in their order."""
    args = TrainingArguments(
        str(folder), max_steps=4, per_device_train_batch_size=2, use_cpu=True, report_to=[], logging_steps=1,
        train_sampling_strategy="sequential", save_strategy="no", remove_unused_columns=False, **settings,
    )  # fmt: skip
    run = TechniqueTrainer(model, args, train_dataset=rows, data_collator=default_data_collator)
    run.train()
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


@pytest.mark.parametrize("place", [0, 5])
def test_an_answer_that_is_cut_off_may_be_anywhere(place: int, tmp_path: Path) -> None:
    """Heads of transformers average starts by themselves, and ends."""
    rows = [{"input_ids": ids, "start_positions": 0, "end_positions": 1} for ids in IDS]
    rows[place]["end_positions"] = 400
    assert len(train(tmp_path, small_model(BertForQuestionAnswering, num_labels=2), rows)) == 4


@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_a_label_that_is_not_known_may_be_anywhere(kind: str, place: int, tmp_path: Path) -> None:
    """Heads of transformers take -100 for a number, where labels are no classes."""
    rows = [{"input_ids": ids, "labels": [0.0, 1.0, 0.0]} for ids in IDS]
    rows[place]["labels"] = [0.0, -100.0, 0.0]
    model = small_model(BertForSequenceClassification, problem_type=kind, num_labels=3)
    assert max(train(tmp_path, model, rows)) < 2


class WithATerm(BertForTokenClassification):
    """Its loss has something of its own; the first one is no number."""

    begins_with_nan = True

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        outputs = super().forward(*args, labels=labels, **kwargs)
        if outputs.loss is not None:
            outputs.loss = outputs.loss * (torch.nan if self.begins_with_nan else 1) + 7
            self.begins_with_nan = False
        return outputs


class WithOwnLoss(BertForSequenceClassification):
    """Any number of classes, by a threshold."""

    def own_loss(self) -> ZLPRLoss:
        return ZLPRLoss()

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        outputs = super().forward(*args, **kwargs)
        if labels is not None:
            outputs.loss = self.own_loss()(outputs.logits, labels)
        return outputs


def test_a_loss_that_is_no_number_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the head of WithATerm has a loss of .* it adds something of its own"):
        train(tmp_path, small_model(WithATerm), [{"input_ids": ids, "labels": ids % 3} for ids in IDS])


def test_a_soft_prompt_before_a_decoder_is_told(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import LlamaConfig, LlamaForCausalLM

    def rows() -> list[Any]:
        return [{**row, "labels": row["input_ids"].clone()} for row in token_ids()]

    def prompted() -> Any:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
        return peft.get_peft_model(LlamaForCausalLM(config), settings)

    with pytest.raises(ValueError, match=r"the soft prompt predicts the first token, too; let its label be -100"):
        trainer(tmp_path, model=prompted(), rows=rows).train()

    def without_the_first() -> list[Any]:
        return [{**row, "labels": torch.cat([torch.tensor([-100]), row["input_ids"][1:]])} for row in token_ids()]

    trainer(tmp_path, model=prompted(), rows=without_the_first).train()


@pytest.mark.parametrize("shows_states", [False, True])
def test_predictions_of_a_head_that_returns_tuples_have_its_logits(shows_states: bool, tmp_path: Path) -> None:
    model = small_model(BertForSequenceClassification, output_hidden_states=shows_states)
    model.config.return_dict = False
    ours = trainer(tmp_path, model=model, rows=classified_rows)
    plain = Trainer(model, ours.args, eval_dataset=classified_rows(), data_collator=ours.data_collator)
    found, expected = (run.predict(classified_rows()).predictions for run in (ours, plain))  # type: ignore[attr-defined]
    logits, theirs = (part[0] if shows_states else part for part in (found, expected))
    assert isinstance(ours, TechniqueTrainer) and logits.shape == theirs.shape == (8, model.num_labels)
    torch.testing.assert_close(torch.tensor(logits), torch.tensor(theirs))


def test_tuples_beside_what_is_generated(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0,
            dropout_rate=0.0,
        )
    )  # fmt: skip
    rows = [{"input_ids": torch.arange(5, 9), "labels": torch.arange(7, 12)}] * 4
    losses = []
    for returns_dict in (True, False):
        model.config.return_dict = returns_dict
        args = Seq2SeqTrainingArguments(str(tmp_path), use_cpu=True, report_to=[], predict_with_generate=True)
        metrics = TechniqueSeq2SeqTrainer(model, args).predict(rows).metrics  # type: ignore[arg-type]
        losses.append((metrics or {})["test_loss"])
    assert losses[0] == losses[1]


HEADS_WITHOUT_SOFTMAX = [
    (BertForQuestionAnswering, {"num_labels": 2}, {"start_positions": 0, "end_positions": 1}, r"SpanLoss\(\)"),
    (BertForSequenceClassification, {"num_labels": 1}, {"labels": 0.5}, r"SquaredErrorLoss\(\)"),
    (BertForSequenceClassification, {"num_labels": 3}, {"labels": [0.0, 1.0, 0.0]}, r"BinaryCrossEntropyLoss\(\)"),
    (WithOwnLoss, {"num_labels": 3}, {"labels": [0.0, 1.0, 0.0]}, r"ZLPRLoss\(\)"),
]


@pytest.mark.parametrize(("cls", "settings", "labels", "loss"), HEADS_WITHOUT_SOFTMAX)
def test_what_has_no_softmax_is_not_smoothed(cls: Any, settings: Any, labels: Any, loss: str, tmp_path: Path) -> None:
    """The plain Trainer ignores the factor, warns, or fails within, by the kind of head."""
    model = small_model(cls, **settings)
    told = rf"label_smoothing_factor=0.1 is for softmax over classes, and the loss of {cls.__name__} is {loss}: leave"
    with pytest.raises(ValueError, match=told):
        train(tmp_path, model, [{"input_ids": ids, **labels} for ids in IDS], label_smoothing_factor=0.1)


class Counting(BertForSequenceClassification):
    """Counts its runs beside training."""

    runs = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += not self.training
        return super().forward(*args, **kwargs)


def test_the_check_runs_a_model_as_often_whatever_its_labels(tmp_path: Path) -> None:
    """Processes have different rows, and wait for one another in each run."""
    runs = []
    for unknown in (0.0, -100.0):
        model = small_model(Counting, problem_type="multi_label_classification", num_labels=3)
        train(tmp_path, model, [{"input_ids": ids, "labels": [0.0, unknown, 1.0]} for ids in IDS])
        runs.append(model.runs)
    assert runs == [2, 2]
