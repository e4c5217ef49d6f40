"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass
class Resources:
    """What a piece of work took; complete when the work has ended.

    Args:
        seconds: wall-clock time.
        peak_rss_mb: the highest resident memory of this process meanwhile, in MB (10^6 bytes); it holds everything
            that was loaded before, too.
    """

    seconds: float = 0.0
    peak_rss_mb: float = 0.0


@contextmanager
def measured(interval: float = 0.05) -> Iterator[Resources]:
    """Measure the block.

    Args:
        interval: seconds between two looks at the memory; peaks that are shorter may be missed.

    Yields:
        The figures, filled in when the block ends, by an error too.

    Example:
        >>> with measured() as taken:
        ...     block = bytes(50_000_000)
        >>> taken.peak_rss_mb > 50
        True
    """
    taken, process, ended = Resources(), psutil.Process(), threading.Event()

    def look() -> None:
        taken.peak_rss_mb = max(taken.peak_rss_mb, process.memory_info().rss / 1e6)

    def watch() -> None:
        while not ended.wait(interval):
            look()

    look()
    watcher = threading.Thread(target=watch, name="memory of a run", daemon=True)
    start = time.perf_counter()
    watcher.start()
    try:
        yield taken
    finally:
        taken.seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        look()
