"""The gradient of a step, cut into micro-batches and over processes: the Trainer of transformers beside ours.

    python benchmarks/training_gradients.py                # writes benchmarks/results/training_gradients.json

Eight rows of unequal length, in fp64, for the heads of the contract tests: one batch of eight against two by four
accumulation steps, and against two gloo processes of four rows each. Scale is the projection on the right gradient,
and error the norm of the difference over that of the right gradient.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from report import Headline, bar, options_of, write_report
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the heads are those of the tests

from tests.contract.cases import CASES  # noqa: E402
from tests.contract.one_step import gradient  # noqa: E402
from tests.contract.stock_heads import HEADS  # noqa: E402

Gradient = dict[str, Tensor]
KINDS = ("2 x 4 steps", "2 processes")


def compare(found: Gradient, right: Gradient) -> dict[str, float]:
    """Scale and relative error of a gradient."""
    one = torch.cat([found[name].flatten() for name in right])
    other = torch.cat([tensor.flatten() for tensor in right.values()])
    error = (one - other).norm() / other.norm()
    return {"scale": round((one @ other / (other @ other)).item(), 3), "error": float(f"{error.item():.1e}")}


def over_two_processes(trainer: str, names: list[str]) -> dict[str, Gradient]:
    """The gradient that two processes of four rows come to, for each case."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
        command += ["--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "-m", "tests.contract.one_step"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, trainer, folder, *names], cwd=ROOT, env=environment, capture_output=True, check=True)
        return {name: load_file(Path(folder, f"{name} 4 True.safetensors")) for name in names}


def headlines(results: dict[str, Any]) -> list[Headline]:
    rows = []
    for kind in KINDS:
        plain = [cells[f"plain, {kind}"]["scale"] for cells in results["heads"].values()]
        ours = [cells[f"ours, {kind}"] for cells in results["heads"].values()]
        scales, error = [cell["scale"] for cell in ours], max(cell["error"] for cell in ours)
        figure = f"{min(scales):.2f} to {max(scales):.2f}, error {error:.0e} / {min(plain):.2f} to {max(plain):.2f}"
        what = f"scale of the gradient of a step in {kind}, {len(ours)} heads"
        rows.append(Headline(what, "transformers' Trainer", figure, f"error {bar(error, most=1e-10)}"))
    return rows


def main() -> None:
    """Measure, print and save."""
    options = options_of(__doc__, "training_gradients.json", rounds=None, bf16=False).parse_args()
    cases = [*HEADS, *(case for case in CASES if case.name == "ladder")]
    names = [case.name for case in cases]
    spread = {kind: over_two_processes(kind, names) for kind in tqdm(("plain", "ours"), "two processes", unit="way")}
    results = {}
    for case in tqdm(cases, unit="head"):
        right = gradient(case, 8, 1, "ours")
        results[case.name] = {
            f"{trainer}, {kind}": compare(found, right)
            for trainer in ("plain", "ours")
            for kind, found in zip(KINDS, (gradient(case, 2, 4, trainer), spread[trainer][case.name]), strict=True)
        }
    table = Table("head", *next(iter(results.values())), title="scale (error) of the gradient of a step")
    for name, row in results.items():
        table.add_row(name, *(f"{cell['scale']:.2f} ({cell['error']:.0e})" for cell in row.values()))
    Console(width=120).print(table)
    write_report(options, {"heads": results}, "fp64")


if __name__ == "__main__":
    main()
