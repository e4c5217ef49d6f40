"""One step of a contrastive loss in several processes, whole and in micro-batches; run by torchrun."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.training.objectives.test_grad_cache import EMBEDDINGS, Learnt, step

if __name__ == "__main__":
    for batch_size in (4, 2, 1):
        found = step(EMBEDDINGS, batch_size, 4 // batch_size, Learnt())
        if torch.distributed.get_rank() == 0:
            file = Path(sys.argv[1], f"{batch_size}.safetensors")
            save_file({name: tensor.contiguous() for name, tensor in found.items()}, file)
    torch.distributed.destroy_process_group()
