"""SimCSE beside evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertModel

from nlpkit.losses import InfoNCELoss
from nlpkit.training import SimCSE
from tests.contract.cases import Row, token_ids
from tests.training.runs import small_model, trainer


@pytest.mark.parametrize("has_labels", [False, True])
def test_labels_of_an_evaluation_set_are_told_to_be_another_task(
    has_labels: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def rows() -> list[Row]:
        return [row | ({"labels": row["input_ids"] * 0} if has_labels else {}) for row in token_ids()]

    model = small_model(BertModel, hidden_dropout_prob=0.1)
    run = trainer(tmp_path, [SimCSE()], model, rows=rows, options={"loss": InfoNCELoss()})
    with run.techniques[0].evaluating():
        pass
    assert ("SimCSE trains on pairs of its own" in caplog.text) == has_labels
