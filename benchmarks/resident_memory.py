"""The most memory that a process has resident while it does something; Linux knows it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any


def resident(field: str) -> int:
    """Bytes that the process has resident now (``VmRSS``), or has had at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_of(call: Callable[[], Any]) -> dict[str, int]:
    """Bytes before a call, the most during it, and how far that is above."""
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the most that was resident
    call()
    peak = resident("VmHWM")
    return {"before": before, "peak": peak, "above": peak - before}
