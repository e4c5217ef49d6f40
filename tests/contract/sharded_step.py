"""Steps of models whose parameters are sharded over two CPU processes by FSDP2; run by torchrun."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments

from nlpkit.training import FGM, TechniqueTrainer
from tests.contract.cases import Case
from tests.contract.stock_heads import HEADS

#: Heads, with the blocks that are sharded one by one; FSDP2 refuses T5, whose stacks share their embedding.
SHARDED = {
    "BertForTokenClassification": "BertLayer",
    "LlamaForCausalLM": "LlamaDecoderLayer",
}
CUTS = ((4, 1), (2, 2), (1, 4))


def gradient(case: Case, batch_size: int, accumulation: int) -> dict[str, Tensor]:
    """The fp64 gradient of a step, read off a step of plain SGD with rate 1."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=1, per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation,
            learning_rate=1.0, lr_scheduler_type="constant", optim="sgd", max_grad_norm=0.0, use_cpu=True,
            report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
            train_sampling_strategy="sequential", fsdp="full_shard",
            fsdp_config={"version": 2, "transformer_layer_cls_to_wrap": [SHARDED[case.name]]},
        )  # fmt: skip
        model = case.model().double()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        trainer = TechniqueTrainer(
            model,
            arguments,
            train_dataset=case.rows(),
            data_collator=lambda rows: case.collate(rows, None),
            techniques=[FGM(0.5)],
        )
        trainer.train()
        assert all(isinstance(parameter, DTensor) for parameter in trainer.model_wrapped.parameters())
        after = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in after.items()}
        return {name: before[name] - value for name, value in whole.items()}


if __name__ == "__main__":
    for case in HEADS:
        for batch_size, accumulation in CUTS if case.name in SHARDED else ():
            found = gradient(case, batch_size, accumulation)
            if torch.distributed.get_rank() == 0:
                file = Path(sys.argv[1], f"{case.name} {batch_size}.safetensors")
                save_file({name: tensor.clone() for name, tensor in found.items()}, file)
    torch.distributed.destroy_process_group()
