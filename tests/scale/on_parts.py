"""Work that other processes import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nlpkit.text_files import read_lines


def lengths() -> Callable[[list[str]], list[int]]:
    return lambda part: [len(text) for text in part]


def process() -> Callable[[list[str]], int]:
    """Which process works; slowly, so that there is work for all of them."""
    return lambda part: time.sleep(0.2) or os.getpid()


def two_processes(folder: Path) -> Callable[[list[str]], int]:
    """Which process works; none of them ends before a second one has begun, however late it comes."""
    return partial(_wait_for_another, folder)


def _wait_for_another(folder: Path, part: list[str]) -> int:
    (folder / f"{os.getpid()}.began").touch()
    waited = folder / "waited"  # in vain: the other one does not come, and the next part need not wait for it, too
    for _ in range(1_200):
        if len(list(folder.glob("*.began"))) > 1 or waited.exists():
            return os.getpid()
        time.sleep(0.1)
    waited.touch()
    return os.getpid()


def threads() -> Callable[[list[str]], int]:
    """How many threads torch computes in, which the work loads."""
    import torch

    return lambda part: torch.get_num_threads()


def refusing() -> Callable[[list[str]], int]:
    return _refuse


def _refuse(part: list[str]) -> int:
    if "七" in part:
        raise ValueError("七 is no good;\nleave it out")
    return len(part)


def killed_once(marker: Path) -> Callable[[list[str]], list[str]]:
    """Whoever gets 七 first is killed by the system."""
    return partial(_die_once, marker)


def _die_once(marker: Path, part: list[str]) -> list[str]:
    if "七" in part and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def read_and_note(notes: Path, path: Path) -> Iterator[str]:
    """Lines of a million characters, with a note of how many were read."""
    for line in read_lines(path):
        with notes.open("a") as file:
            file.write("x")
        yield line * 1_000_000
