"""Seconds and peak memory."""

from __future__ import annotations

import time

import pytest

from nlpkit.fewshot.resources import measured


def test_memory_that_is_given_back_in_the_block_counts() -> None:
    with measured(interval=0.005) as before:
        pass
    with measured(interval=0.005) as taken:
        block = bytearray(80_000_000)
        time.sleep(0.2)
        del block
    assert taken.peak_rss_mb > before.peak_rss_mb + 60
    assert taken.seconds >= 0.2


def test_work_that_fails_is_measured_too() -> None:
    with pytest.raises(RuntimeError, match="x"), measured() as taken:
        time.sleep(0.05)
        raise RuntimeError("x")
    assert taken.seconds >= 0.05
    assert taken.peak_rss_mb > 1
