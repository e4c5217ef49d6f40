import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from nlpkit.scale import Engine, Here, Processes, engine_of
from tests.scale.on_parts import killed_once, lengths, refusing, threads, two_processes

PARTS = [["天气", "好"], [], ["今天"], ["雨"] * 3]


@pytest.mark.parametrize("engine", [Here(), Processes(2)])
def test_every_part_has_its_result_in_order(engine: Engine) -> None:
    assert list(engine.map(iter(PARTS), lengths)) == [(part, [len(text) for text in part]) for part in PARTS]
    assert list(engine.map([], lengths)) == []


def test_processes_share_the_work_and_read_no_further_than_they_work(tmp_path: Path) -> None:
    read = 0

    def parts() -> Iterator[list[str]]:
        nonlocal read
        for number in range(1, 9):
            read = number
            yield ["雨"]

    answers = Processes(2).map(parts(), partial(two_processes, tmp_path))
    found = {next(answers)[1]}
    assert read <= 3
    assert len(found | {result for _, result in answers}) == 2


def test_processes_compute_in_their_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in as many threads as there are cores, they would wait for one another."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    answers = Processes(2).map([["雨"]] * 4, threads)
    assert {result for _, result in answers} == {min(4, max(1, cores // 2))}


@pytest.mark.parametrize("engine", [Here(), Processes(2)])
def test_what_is_wrong_with_a_part_is_told(engine: Engine) -> None:
    with pytest.raises(ValueError, match="七 is no good"):
        list(engine.map([["一"], ["七"]], refusing))


def test_a_number_stands_for_an_engine() -> None:
    assert isinstance(engine_of(1), Here)
    three = engine_of(3)
    assert isinstance(three, Processes)
    assert three.number == 3
    assert engine_of(three) is three
    with pytest.raises(ValueError, match="processes=0 must be 1 or more"):
        engine_of(0)


def test_a_killed_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenProcessPool, match="a worker process was killed, perhaps for lack of memory"):
        list(Processes(2).map([["一"], ["七"]], partial(killed_once, tmp_path / "killed")))
