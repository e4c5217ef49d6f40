"""One optimizer step of a case under a Trainer; run by torchrun in the tests with two processes."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer, TrainingArguments

from nlpkit.training import TechniqueTrainer
from tests.contract.cases import CASES, Case
from tests.contract.stock_heads import HEADS


class Fp16Trainer(TechniqueTrainer):
    """Mixed precision in fp16, which accelerate refuses on CPUs: gradients are scaled, autocast leaves fp64 alone."""

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        self.args.mixed_precision = "fp16"
        self.accelerator.native_amp = True
        self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        shared = self.accelerator.state._shared_state  # of all accelerators of this process
        shared["_mixed_precision"] = "fp16"
        try:
            return super().train(*args, **kwargs)
        finally:
            shared["_mixed_precision"] = "no"


#: By name: the Trainer of transformers, and the one of nlpkit, for every case that a test may want in two processes.
TRAINERS = {"plain": Trainer, "ours": TechniqueTrainer, "fp16": Fp16Trainer}


def gradient(
    case: Case,
    batch_size: int,
    accumulation: int,
    trainer: str = "plain",
    settings: Any = None,
    dtype: torch.dtype = torch.float64,
    **arguments: Any,
) -> dict[str, Tensor]:
    """The gradient of one step over the case's eight rows, in fp64, read off a step of plain SGD with rate 1.

    The Trainer's settings may be a function of the model that is trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingArguments(
            output_dir=folder,
            max_steps=1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            learning_rate=1.0,
            lr_scheduler_type="constant",
            optim="sgd",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
            ddp_find_unused_parameters=False,
            **{"max_grad_norm": 0.0, **arguments},
        )
        model = case.model().to(dtype)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        TRAINERS[trainer](
            model,
            training,
            train_dataset=case.rows(),
            data_collator=lambda rows: case.collate(rows, None),
            **(settings(model) if callable(settings) else settings or {}),
        ).train()
        return {name: before[name] - tensor for name, tensor in model.state_dict().items()}


def main(trainer: str, folder: str, names: Sequence[str]) -> None:
    """Gradients of two processes of four rows; ours in one, two and four micro-batches, counted over both or not.

    Args:
        trainer: of ``TRAINERS``.
        folder: for a file per gradient.
        names: of cases, or of a case and a technique, as in ``"BertForTokenClassification+fgm"``.
    """
    from tests.contract.test_techniques import IN_PROCESSES, with_two_masks  # which imports this module

    cases = {case.name: case for case in [*CASES, *HEADS]}
    for name in names:
        case_name, _, technique = name.partition("+")
        case, sizes, settings = cases[case_name], (4, 2, 1) if trainer == "ours" else (4,), {}
        if technique:
            case, sizes = with_two_masks(case) if technique == "r-drop" else case, (4, 2)
        for batch_size, average in itertools.product(sizes, (True, False) if trainer == "ours" else (True,)):
            if technique:
                settings = {"techniques": [IN_PROCESSES[technique](1.0)]}
            found = gradient(
                case, batch_size, 4 // batch_size, trainer, settings, average_tokens_across_devices=average
            )
            if torch.distributed.get_rank() == 0:
                file = Path(folder, f"{name} {batch_size} {average}.safetensors")
                save_file({key: tensor.contiguous() for key, tensor in found.items()}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
    torch.distributed.destroy_process_group()
