"""UniLM under the Trainers: the loss is right however a step is cut, and evaluation writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments

from nlpkit import (
    TechniqueSeq2SeqTrainer,
    TechniqueTrainer,
    UniLmCollator,
    UniLmForSequenceToSequence,
    WoBertTokenizer,
)
from nlpkit.losses import ChunkedCrossEntropyLoss, CrossEntropyLoss
from nlpkit.seq2seq import decode_written, generate_texts
from nlpkit.training import stock_loss
from tests.contract.cases import CASES
from tests.contract.one_step import gradient

UNILM = next(case for case in CASES if case.name == "unilm")
Writer = Callable[..., UniLmForSequenceToSequence]
PAIRS = [
    ("酒店服务态度不错", "服务不错"),
    ("酒店的服务态度很好", "服务很好"),
    ("房间干净，我们满意", "房间干净"),
    ("随时推荐朋友", "推荐"),
]
ROWS = [{"source": source, "target": target} for source, target in PAIRS]


def same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    assert max(tensor.abs().max() for tensor in expected.values()) > 1e-3
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance)


def test_its_loss_is_that_of_the_next_token() -> None:
    loss = stock_loss(UNILM.model())
    assert isinstance(loss, CrossEntropyLoss) and loss.shift


@pytest.mark.parametrize("trainer", ["plain", "ours"])
def test_a_step_may_be_cut(trainer: str) -> None:
    whole = gradient(UNILM, 8, 1)
    for size in (2, 4):
        same(gradient(UNILM, size, 8 // size, trainer), whole)


def test_labels_at_the_first_token_count_for_nothing() -> None:
    """No token stands before it; a Trainer that counted it would divide by too much."""

    class WithFirst:
        model = staticmethod(UNILM.model)
        collate = staticmethod(UNILM.collate)

        @staticmethod
        def rows() -> Any:
            rows = UNILM.rows()
            for row in rows:
                row["token_type_ids"] = torch.ones_like(row["token_type_ids"])
                row["labels"] = row["input_ids"].clone()
            return rows

    case: Any = WithFirst()
    same(gradient(case, 2, 4), gradient(case, 8, 1))
    same(gradient(case, 8, 1, "ours"), gradient(case, 8, 1))


def test_chunks_of_logits_give_the_same_gradient() -> None:
    def chunked(model: Any) -> dict[str, Any]:
        return {"loss": ChunkedCrossEntropyLoss(model, shift=True, chunk=3)}

    same(gradient(UNILM, 2, 4, "ours", chunked), gradient(UNILM, 8, 1), tolerance=1e-10)


def test_smoothed_labels_are_right_in_both_trainers() -> None:
    plain = gradient(UNILM, 8, 1, label_smoothing_factor=0.1)
    same(gradient(UNILM, 2, 4, "ours", label_smoothing_factor=0.1), plain, tolerance=1e-7)


def arguments(folder: Path, **settings: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        **settings,
    }


@pytest.mark.parametrize("kind", [Trainer, TechniqueTrainer])
def test_it_learns_to_write_under_either_trainer(
    writer: Writer, tokenizer: WoBertTokenizer, tmp_path: Path, kind: Any
) -> None:
    model = writer(initializer_range=0.1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    settings = TrainingArguments(**arguments(tmp_path, num_train_epochs=60))
    kind(model, settings, train_dataset=ROWS, data_collator=UniLmCollator(tokenizer)).train()
    for beams in (1, 3):
        found = generate_texts(model, tokenizer, [source for source, _ in PAIRS], max_new_tokens=8, num_beams=beams)
        assert found == [target for _, target in PAIRS]


@pytest.mark.parametrize("kind", [Seq2SeqTrainer, TechniqueSeq2SeqTrainer])
def test_evaluation_writes_targets_of_its_sources(
    writer: Writer, tokenizer: WoBertTokenizer, tmp_path: Path, kind: Any
) -> None:
    model = writer()
    model.generation_config.max_new_tokens = 6
    collator = UniLmCollator(tokenizer)
    settings = Seq2SeqTrainingArguments(
        **arguments(tmp_path, predict_with_generate=True, per_device_eval_batch_size=2, remove_unused_columns=False)
    )
    trainer = kind(model, settings, train_dataset=ROWS, eval_dataset=ROWS, data_collator=collator)
    output = trainer.predict(ROWS)
    found = [written_behind_source(row, tokenizer) for row in output.predictions]
    assert found == generate_texts(model, tokenizer, [source for source, _ in PAIRS], max_new_tokens=6)
    assert [decode_written(row, tokenizer) for row in output.label_ids] == [target for _, target in PAIRS]
    with torch.no_grad():
        losses = [model(**collator(rows)).loss.item() for rows in (ROWS[:2], ROWS[2:])]
    assert output.metrics["test_loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def written_behind_source(row: np.ndarray, tokenizer: WoBertTokenizer) -> str:
    end = row.tolist().index(tokenizer.sep_token_id)
    return decode_written(row[end + 1 :].tolist(), tokenizer)
