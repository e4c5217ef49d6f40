"""Impact matrices of the test sentences, shared out over processes; run by torchrun in the test with two of them."""

from __future__ import annotations

import sys

import numpy as np
import torch

from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import SENTENCES, bert, tokenizer

if __name__ == "__main__":
    parser = PerturbedMasking(
        bert().double(), tokenizer(), across_processes=True, batch_tokens=16, show_progress=False
    )
    assert parser.processes.count == 2
    found = parser.impact(SENTENCES)
    np.savez(f"{sys.argv[1]}/{parser.processes.rank}.npz", *found)
    torch.distributed.destroy_process_group()
