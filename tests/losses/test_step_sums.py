"""Losses that look back at their steps: the same however a step is cut, resumed, or shared between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Trainer, TrainingArguments

from nlpkit import TechniqueTrainer
from nlpkit.losses import CenterLoss, CrossEntropyLoss, F1WeightedLoss, Loss
from nlpkit.losses.step_sums import StepSums
from tests.contract.cases import Case
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import ROOT, assert_same

_BY_NAME = {case.name: case for case in HEADS}


def _scores(outputs: Any) -> Tensor:
    return outputs["logits"].detach() + outputs["logits"]


def looking_back(name: str) -> tuple[Loss, Case]:
    if name == "f1":
        return F1WeightedLoss(0.5).double(), _BY_NAME["multi-label"]
    loss = CenterLoss(CrossEntropyLoss(), 5, 5, weight=0.5, momentum=0.5, features=_scores).double()
    return loss, _BY_NAME["BertForTokenClassification"]


def trained(
    name: str,
    batch_size: int,
    accumulation: int,
    steps: int = 4,
    folder: str = "",
    plain: bool = False,
    **options: Any,
) -> dict[str, Tensor]:
    """The model and the loss after some steps of eight rows."""
    loss, case = looking_back(name)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            folder or scratch, max_steps=steps, per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation, learning_rate=0.5, lr_scheduler_type="constant", optim="sgd",
            max_grad_norm=0.0, use_cpu=True, report_to=[], disable_tqdm=True, remove_unused_columns=False,
            train_sampling_strategy="sequential", ddp_find_unused_parameters=False,
            save_strategy="steps" if folder else "no", save_steps=2,
        )  # fmt: skip
        settings: Any = {"compute_loss_func": loss} if plain else {"loss": loss}
        model = case.model().double()
        (Trainer if plain else TechniqueTrainer)(
            model, arguments, train_dataset=case.rows() * steps, data_collator=lambda rows: case.collate(rows, None),
            **settings,
        ).train(**options)  # fmt: skip
    return {**model.state_dict(), **{f"loss.{key}": value for key, value in loss.state_dict().items()}}


@pytest.mark.parametrize("name", ["f1", "center"])
def test_accumulated_steps_equal_large_batches(name: str) -> None:
    whole = trained(name, 8, 1)
    assert_same(trained(name, 2, 4), whole)
    assert_same(trained(name, 2, 4, plain=True), whole)
    shorter = trained(name, 8, 1, steps=3)
    assert not torch.equal(shorter["classifier.weight"], whole["classifier.weight"])


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = trained("f1", 4, 2, folder=str(tmp_path / "whole"))
    checkpoint = str(tmp_path / "whole" / "checkpoint-2")
    again = trained("f1", 4, 2, folder=str(tmp_path / "again"), resume_from_checkpoint=checkpoint)
    assert_same(again, whole)


def test_a_number_or_none_is_a_step_of_its_own_and_without_gradients_nothing_is() -> None:
    sums = StepSums(0.0, 1)
    for items in (4, 4, None, None, 2.0):
        before = sums.before(items).clone()
        sums.add(before + 1)
        with torch.no_grad():
            assert torch.equal(sums.before(None), before)
            sums.add(torch.tensor([99.0]))
    assert sums.before(None).item() == 5


@pytest.mark.parametrize("name", ["f1", "center"])
def test_a_loss_that_is_restarted_forgets_its_steps(name: str) -> None:
    loss, case = looking_back(name)
    model, batch, fresh = case.model().double(), case.collate(case.rows(), None), loss.state_dict()
    for items in (torch.tensor(7), torch.tensor(7)):
        loss.terms(model(**loss.inputs_of(batch)), batch, {"loss": items, "center": items})
    assert any(not torch.equal(fresh[key], value) for key, value in loss.state_dict().items())
    loss.restart()
    assert all(torch.equal(fresh[key], value) for key, value in loss.state_dict().items())
    loss.terms(model(**loss.inputs_of(batch)), batch, {"loss": items, "center": items})
    assert not any(value.any() for key, value in loss.state_dict().items() if key.endswith("done"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f1", "center"])
def test_two_processes_look_back_at_the_rows_of_both(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv_backend=c10d"]
    command += ["--rdzv_endpoint=localhost:0", "-m", "tests.losses.test_step_sums", name, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(load_file(tmp_path / "found.safetensors"), trained(name, 8, 1))
    assert_same(load_file(tmp_path / "resumed.safetensors"), trained(name, 8, 1))


if __name__ == "__main__":
    from safetensors.torch import save_file

    folder = Path(sys.argv[2])
    found = trained(sys.argv[1], 2, 2, folder=str(folder / "whole"))
    checkpoint = str(folder / "whole" / "checkpoint-2")
    resumed = trained(sys.argv[1], 2, 2, folder=str(folder / "again"), resume_from_checkpoint=checkpoint)
    if torch.distributed.get_rank() == 0:
        for file, state in (("found", found), ("resumed", resumed)):
            save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{file}.safetensors")
    torch.distributed.destroy_process_group()
