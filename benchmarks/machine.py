"""What a figure was measured on: a ratio of one processor or precision is not that of another."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from nlpkit.training import bf16_is_fast


def measured_on(precision: str, *packages: str) -> dict[str, Any]:
    """What belongs beside every figure.

    Args:
        precision: that everything was computed in, such as ``"fp32"``.
        packages: installed ones that the figure depends on, beside torch and transformers.

    Returns:
        For a results file.
    """
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "bf16_is_fast": bf16_is_fast(),
        "preloaded": Path(os.environ.get("LD_PRELOAD", "")).name,
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in ("torch", "transformers", *packages)},
    }


def processor() -> str:
    """The accelerator's name, or the processor's with its instructions for matrices."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    instructions = [name for name in ("amx_tile", "avx512_bf16", "avx512f", "avx2") if name in found.get("flags", "")]
    name = found.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({instructions[0]})" if instructions else name


def version_of(package: str) -> str:
    """Of an installed package, or that it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def arithmetic(bf16: bool) -> torch.autocast:
    """Autocast to bf16, or none."""
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16, enabled=bf16)
