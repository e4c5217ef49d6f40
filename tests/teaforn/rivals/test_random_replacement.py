"""Random replacement: wrong tokens where a decoder would have to write, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nlpkit.losses import CrossEntropyLoss
from nlpkit.teaforn import RandomReplacement
from tests.contract.cases import VOCABULARY
from tests.teaforn.models import WRITERS, batch_for


def replaced_by(name: str, technique: RandomReplacement, rows: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    model = WRITERS[name]()
    host: Any = SimpleNamespace(model=model, task_loss=CrossEntropyLoss())
    technique.prepare(host)
    batch = batch_for(model, rows)
    return batch, technique.batch(batch)


@pytest.mark.parametrize("name", ["T5", "mBART", "Llama"])
def test_tokens_that_are_written_are_replaced_and_labels_stay(name: str) -> None:
    batch, found = replaced_by(name, RandomReplacement(1.0, tokens=(4, 5)))
    assert torch.equal(found["labels"], batch["labels"])
    if name == "Llama":
        written = batch["labels"] != -100
        assert torch.equal(found["input_ids"], torch.where(written, 4, batch["input_ids"]))
        return
    written = (batch["labels"] != -100)[:, :-1]
    model = WRITERS[name]()
    right = model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
    read = found["decoder_input_ids"]
    assert torch.equal(read[:, 0], right[:, 0])
    assert (read[:, 1:][written] == 4).all()
    assert (read[:, 1:][~written] == model.config.pad_token_id).all()
    assert torch.equal(found["input_ids"], batch["input_ids"])


def test_about_as_many_are_replaced_as_was_said_by_tokens_from_everywhere() -> None:
    technique = RandomReplacement(0.3)
    batch, _ = replaced_by("Llama", technique)
    written = batch["labels"] != -100
    torch.manual_seed(0)
    changed, seen = [], set()
    for _ in range(300):
        found = technique.batch(batch)
        changed.append((found["input_ids"] != batch["input_ids"])[written].float().mean())
        seen |= set(found["input_ids"][written].tolist())
    assert torch.stack(changed).mean() == pytest.approx(0.3 * (1 - 1 / VOCABULARY), abs=0.03)
    assert seen == set(range(VOCABULARY))


def test_own_tokens_are_those_of_the_row() -> None:
    torch.manual_seed(0)
    batch, found = replaced_by("T5", RandomReplacement(1.0, own=True))
    for row in range(3):
        own = {token for token in batch["labels"][row].tolist() if token != -100}
        written = (batch["labels"][row] != -100)[:-1]
        assert set(found["decoder_input_ids"][row, 1:][written].tolist()) <= own


def test_rows_without_labels_stay() -> None:
    model = WRITERS["Llama"]()
    host: Any = SimpleNamespace(model=model, task_loss=CrossEntropyLoss())
    technique = RandomReplacement(1.0, own=True)
    technique.prepare(host)
    batch = batch_for(model)
    batch["labels"][1] = -100
    assert torch.equal(technique.batch(batch)["input_ids"][1], batch["input_ids"][1])
    bare = {name: value for name, value in batch.items() if name != "labels"}
    assert technique.batch(bare) is bare


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability=-0.1: give a finite number at least 0 and at most 1"):
        RandomReplacement(-0.1)
    with pytest.raises(ValueError, match=rf"tokens=\(5, 99\): give ids from 0 to {VOCABULARY}, the lower one first"):
        replaced_by("T5", RandomReplacement(tokens=(5, 99)))
