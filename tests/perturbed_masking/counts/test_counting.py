"""Counting a corpus into a folder: resumed, shared among processes, one at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nlpkit.files import only_writer
from nlpkit.perturbed_masking import CorpusCounts, count_corpus

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [f"今天天气好，{'酒店很好' * (number % 7)}。" for number in range(60)]
#: Counts in small parts and says so, one text every hundredth of a second, until it is killed.
SLOWLY = """
import sys, time
from nlpkit.perturbed_masking import count_corpus
from tests.perturbed_masking.counts.test_counting import TEXTS
def slowly():
    for text in TEXTS:
        time.sleep(0.05)
        yield text
count_corpus(slowly(), sys.argv[1], part_characters=20, show_progress=False)
"""


def assert_same(found: CorpusCounts, expected: CorpusCounts) -> None:
    for length, counts in expected.by_length.items():
        for name in ("keys", "counts", "missed", "floor"):
            np.testing.assert_array_equal(getattr(found.by_length[length], name), getattr(counts, name))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> CorpusCounts:
    return count_corpus(TEXTS, tmp_path_factory.mktemp("whole"), part_characters=20)


def test_counting_goes_on_where_it_was_interrupted(tmp_path: Path, whole: CorpusCounts) -> None:
    def interrupted() -> Iterator[str]:
        yield from TEXTS[:40]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_corpus(interrupted(), tmp_path, part_characters=20)
    kept = CorpusCounts.load(tmp_path / "counts.safetensors").characters
    assert 0 < kept < whole.characters
    assert_same(count_corpus(TEXTS, tmp_path, part_characters=20), whole)


def test_a_killed_process_loses_a_few_parts(tmp_path: Path, whole: CorpusCounts) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(tmp_path)], cwd=ROOT, env=environment)
    while not (tmp_path / "counts.safetensors").exists():
        assert process.poll() is None, "it ended before anything was kept"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_same(count_corpus(TEXTS, tmp_path, part_characters=20), whole)


def test_what_is_counted_is_not_counted_again(tmp_path: Path, whole: CorpusCounts) -> None:
    count_corpus(TEXTS, tmp_path, part_characters=20)
    before = (tmp_path / "counts.safetensors").stat().st_mtime_ns
    assert_same(count_corpus(iter(TEXTS), tmp_path, part_characters=20), whole)
    assert (tmp_path / "counts.safetensors").stat().st_mtime_ns == before
    longer = count_corpus([*TEXTS, "天气"], tmp_path, part_characters=20)
    assert longer.count("天气") == whole.count("天气") + 1


def test_any_number_of_processes_gives_the_same_counts(tmp_path: Path, whole: CorpusCounts) -> None:
    assert_same(count_corpus(TEXTS, tmp_path, part_characters=400, processes=2), whole)


def test_an_empty_corpus_has_no_counts(tmp_path: Path) -> None:
    assert count_corpus([], tmp_path).characters == 0
    assert count_corpus([], tmp_path).characters == 0


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(BlockingIOError, match="is writing to"):
        count_corpus(TEXTS, tmp_path)


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    count_corpus(TEXTS, tmp_path, part_characters=20)
    with pytest.raises(ValueError, match="holds the counts of other texts; give the same ones in the same order"):
        count_corpus(TEXTS[::-1], tmp_path, part_characters=20)
    with pytest.raises(ValueError, match="holds the counts of other texts"):
        count_corpus(TEXTS[:-1], tmp_path, part_characters=20)
    with pytest.raises(ValueError, match="memory was 1073741824 and is now 2000000"):
        count_corpus(TEXTS, tmp_path, part_characters=20, memory=2_000_000)
    with pytest.raises(TypeError, match="texts is one text, '今天'; give a list of them"):
        count_corpus("今天", tmp_path)
    with pytest.raises(ValueError, match="processes=0 must be 1 or more"):
        count_corpus(TEXTS, tmp_path, processes=0)
    with pytest.raises(ValueError, match="part_characters=0 must be 1 or more"):
        count_corpus(TEXTS, tmp_path, part_characters=0)
