"""Seconds and peak memory."""

from __future__ import annotations

import time
from mmap import mmap

import pytest

from nlpkit.fewshot.grid.resources import measured


def test_memory_that_is_given_back_in_the_block_counts() -> None:
    with measured(interval=0.005) as before:
        pass
    # Not from the heap, which may have as much left over from earlier tests.
    with measured(interval=0.005) as taken, mmap(-1, 80_000_000) as block:
        block.write(bytes([1]) * len(block))
        time.sleep(0.2)
    assert taken.peak_rss_mb > before.peak_rss_mb + 60
    assert taken.seconds >= 0.2


def test_work_that_fails_is_measured_too() -> None:
    with pytest.raises(RuntimeError, match="x"), measured() as taken:
        time.sleep(0.05)
        raise RuntimeError("x")
    assert taken.seconds >= 0.05
    assert taken.peak_rss_mb > 1
