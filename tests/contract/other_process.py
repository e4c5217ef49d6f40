"""Answers of saved models in a Python that has seen nothing of what the tests made but the folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import sys, nlpkit, torch
from operator import attrgetter
from safetensors.torch import load_file, save_file
for line in sys.stdin:
    load, folder, batch, answer = line.rstrip("\\n").split("\\t")
    with torch.no_grad():
        output = attrgetter(load)(nlpkit)(folder).eval()(**load_file(batch))
    save_file({key: value.contiguous() for key, value in output.items() if key.endswith("logits")}, answer)
    print("done", flush=True)
"""


class OtherProcess:
    """One process for many folders: a new one for each would spend its time on imports."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.python = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def answers(self, load: str, folder: Path, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The logits of the model that ``nlpkit.<load>(folder)`` gives."""
        files = [self.place / f"{part}.safetensors" for part in ("batch", "answer")]
        save_file({key: value.contiguous() for key, value in batch.items()}, files[0])
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        self.python.stdin.write("\t".join([load, str(folder), *map(str, files)]) + "\n")
        self.python.stdin.flush()
        assert self.python.stdout.readline() == "done\n"
        return load_file(files[1])
