"""What does one piece of work to every part of a corpus, here or in several processes."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Makes, once in each process that works, what takes a part: it loads a model, for example.
Make = Callable[[], Callable[[list[Item]], Result]]


class Engine(Protocol):
    """Does work to parts: ``Here``, ``Processes``, ``RayData``, or your own."""

    def map(self, parts: Iterable[list[Item]], make: Make[Item, Result]) -> Iterator[tuple[list[Item], Result]]:
        """Every part with what comes of it, in order, while later ones are worked on.

        Args:
            parts: read one after the other, no more of them at a time than are worked on.
            make: makes what takes a part.
        """


class Here:
    """Work in this process.

    Example:
        >>> list(Here().map([[1, 2], [3]], lambda: sum))
        [([1, 2], 3), ([3], 3)]
    """

    def map(self, parts: Iterable[list[Item]], make: Make[Item, Result]) -> Iterator[tuple[list[Item], Result]]:
        """As of ``Engine``."""
        work = make()
        for part in parts:
            yield part, work(part)


class Processes:
    """Work in several processes on this machine.

    Args:
        number: of them, each for one core, or for its share of the cores where there are more.

    Raises:
        ValueError: ``number`` is below 1.

    Note:
        Work, parts and results are pickled; a program that uses this needs ``if __name__ == "__main__":``.
    """

    def __init__(self, number: int) -> None:
        if number < 1:
            raise ValueError(f"processes={number} must be 1 or more")
        self.number = number

    def map(self, parts: Iterable[list[Item]], make: Make[Item, Result]) -> Iterator[tuple[list[Item], Result]]:
        """As of ``Engine``."""
        begin = (make, max(1, _cores() // self.number))
        # Not fork, which copies a process whose libraries may run threads.
        with ProcessPoolExecutor(self.number, get_context("spawn"), _begin, begin) as pool:
            waiting: deque[tuple[list[Item], Future[Result]]] = deque()
            for part in parts:
                waiting.append((part, pool.submit(_work_on, part)))
                if len(waiting) > self.number:
                    first, future = waiting.popleft()
                    yield first, _result(future)
            for first, future in waiting:
                yield first, _result(future)


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise BrokenProcessPool(
            "a worker process was killed, perhaps for lack of memory; begin again with fewer workers"
        ) from error


def engine_of(processes: int | Engine) -> Engine:
    """The engine that an argument ``processes`` stands for.

    Args:
        processes: a number, of which 1 is this process; or an engine.

    Raises:
        ValueError: a number below 1.
    """
    if not isinstance(processes, int):
        return processes
    return Here() if processes == 1 else Processes(processes)


def _cores() -> int:
    """That this process may use."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(allowed) or os.cpu_count() or 1


_work: Callable[[Any], Any]


def _begin(make: Make[Any, Any], threads: int) -> None:
    global _work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process for each core
    _work = make()
    if torch := sys.modules.get("torch"):  # where the work needs it
        torch.set_num_threads(min(threads, torch.get_num_threads()))


def _work_on(part: list[Any]) -> Any:
    return _work(part)
