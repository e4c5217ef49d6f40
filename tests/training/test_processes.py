"""Two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.on_processes import TECHNIQUES, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
    command += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "-m", "tests.training.on_processes"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for number, name in enumerate(TECHNIQUES):
        found, expected = load_file(tmp_path / f"{number}.safetensors"), run(name, tmp_path / "one", 8)
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            # Muon orthogonalises in bf16, which magnifies what sums in another order differ by.
            tolerance = 1e-5 if key.startswith("log of") else 1e-3 if name == "muon" else 1e-10
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=tolerance, msg=f"{name}: {key}")
