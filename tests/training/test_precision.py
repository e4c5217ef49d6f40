"""The choice of precision follows what the processor says of itself."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from nlpkit.training.precision import bf16_is_fast

CPU_FACTS = Path("/proc/cpuinfo")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU decides")
@pytest.mark.skipif(platform.machine() != "x86_64" or not CPU_FACTS.exists(), reason="reads Linux' list of x86 flags")
def test_bf16_is_fast_where_the_processor_has_units_for_it():
    flags = set(CPU_FACTS.read_text(encoding="utf-8").split())
    assert bf16_is_fast() == ("amx_tile" in flags)
