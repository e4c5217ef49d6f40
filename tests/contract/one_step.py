"""One optimizer step of a case under the Trainer; run by torchrun in the test with two processes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer, TrainingArguments

from tests.contract.cases import CASES, Case


def gradient(case: Case, batch_size: int, accumulation: int) -> dict[str, Tensor]:
    """The fp64 gradient of one step over the case's eight rows, read off a step of plain SGD with rate 1."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            learning_rate=1.0,
            lr_scheduler_type="constant",
            optim="sgd",
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
            ddp_find_unused_parameters=False,
        )
        model = case.model().double()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        Trainer(
            model, arguments, train_dataset=case.rows(), data_collator=lambda rows: case.collate(rows, None)
        ).train()
        return {name: before[name] - tensor for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    name, target = sys.argv[1:]
    found = gradient(next(case for case in CASES if case.name == name), batch_size=4, accumulation=1)
    if torch.distributed.get_rank() == 0:
        save_file({key: tensor.contiguous() for key, tensor in found.items()}, Path(target))
    torch.distributed.destroy_process_group()
