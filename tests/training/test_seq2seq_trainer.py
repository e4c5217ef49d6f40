"""Evaluation that generates: its loss is the one that was given, and its tokens are those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.losses import CrossEntropyLoss
from tests.contract.cases import pad_tokens
from tests.contract.stock_heads import HEADS

T5 = next(case for case in HEADS if case.name == "T5ForConditionalGeneration")


class Doubled(CrossEntropyLoss):
    """Twice the cross-entropy."""

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 2 * super().values(logits, labels)


def trainer(kind: Any, folder: Path, **options: Any) -> Any:
    arguments = Seq2SeqTrainingArguments(
        str(folder), predict_with_generate=True, generation_max_length=6, use_cpu=True, report_to=[], max_steps=1
    )
    data = {"train_dataset": T5.rows(), "eval_dataset": T5.rows(), "data_collator": lambda rows: pad_tokens(rows, 12)}
    return kind(T5.model(), arguments, **data, **options)


def test_the_loss_beside_what_is_generated_is_the_tasks(tmp_path: Path) -> None:
    plain, ours, doubled = (
        trainer(kind, tmp_path, **options).predict(T5.rows())
        for kind, options in (
            (Seq2SeqTrainer, {}),
            (TechniqueSeq2SeqTrainer, {}),
            (TechniqueSeq2SeqTrainer, {"loss": Doubled()}),
        )
    )
    assert np.array_equal(plain.predictions, ours.predictions) and np.array_equal(plain.label_ids, ours.label_ids)
    assert ours.metrics["test_loss"] == pytest.approx(plain.metrics["test_loss"], rel=1e-5)
    assert doubled.metrics["test_loss"] == pytest.approx(2 * ours.metrics["test_loss"], rel=1e-5)


def test_it_trains_and_evaluates_without_generating_too(tmp_path: Path) -> None:
    run = trainer(TechniqueSeq2SeqTrainer, tmp_path)
    run.train()
    run.args.predict_with_generate = False
    assert 0 < run.evaluate()["eval_loss"] < 10
