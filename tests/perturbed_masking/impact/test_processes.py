"""Several processes give what one gives."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nlpkit.perturbed_masking.impact.processes import share_out
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import SENTENCES, bert, tokenizer

ROOT = Path(__file__).resolve().parents[3]


def test_work_is_shared_out_evenly_and_wholly() -> None:
    costs = [int(cost) for cost in np.random.default_rng(0).integers(1, 1000, 200)]
    shares = share_out(costs, 3)
    assert sorted(itertools.chain(*shares)) == list(range(200))
    loads = [sum(costs[job] for job in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)


@pytest.mark.slow
def test_two_processes_both_have_all_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
    command += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "-m", "tests.perturbed_masking.on_processes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path)], check=True, cwd=ROOT, env=environment, capture_output=True)
    expected = PerturbedMasking(bert().double(), tokenizer(), show_progress=False).impact(SENTENCES)
    for rank in range(2):
        found = np.load(tmp_path / f"{rank}.npz")
        assert len(found.files) == len(SENTENCES)
        for name, matrix in zip(found.files, expected, strict=True):
            np.testing.assert_allclose(found[name], matrix, rtol=1e-6, atol=1e-8)
