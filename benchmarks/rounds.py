"""Ways that are timed in turns (A B A B ...), for as long as there is time: how all benchmarks here take it."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time, time
from typing import Any, NamedTuple, TypeVar

import psutil
import torch
from tqdm import tqdm
from transformers import TrainerCallback

Item = TypeVar("Item")

#: When this process began, imports included.
BEGUN = psutil.Process().create_time()


class Budget:
    """Time until a moment, after which nothing more is begun.

    Args:
        seconds: from the start of the process.
    """

    def __init__(self, seconds: float) -> None:
        self.ends = BEGUN + seconds

    def left(self) -> float:
        """Seconds; below 0 when it is over."""
        return self.ends - time()

    def shared(self, items: Iterable[Item]) -> Iterator[tuple[Item, Budget]]:
        """Each item with its share of what is left when its turn comes."""
        waiting = list(items)
        for done, item in enumerate(waiting):
            yield item, Budget(time() + self.left() / (len(waiting) - done) - BEGUN)


class Taken(NamedTuple):
    """Seconds, by the clock and by the processor's time, which other work on the machine changes less."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Taken:
        """A moment."""
        return cls(perf_counter(), process_time())

    def until(self, later: Taken) -> Taken:
        """From this moment to a later one."""
        return Taken(later.clock - self.clock, later.processor - self.processor)


@dataclass
class Turns:
    """What each way took, round by round, without the round that warmed up, if there was time for another."""

    taken: dict[str, list[Taken]]
    rounds: int
    warmed_up: bool

    def facts(self) -> dict[str, Any]:
        """For a results file."""
        return {"rounds": self.rounds, "warmed_up": self.warmed_up}

    def clock(self, name: str) -> list[float]:
        """Seconds of each round by the clock."""
        return [each.clock for each in self.taken[name]]

    def medians(self) -> dict[str, float]:
        """By the clock."""
        return {name: median(self.clock(name)) for name in self.taken}

    def fastest(self, name: str) -> Taken:
        """The least of each, for a machine that is shared: what else runs only ever adds."""
        return Taken(*(min(column) for column in zip(*self.taken[name], strict=True)))


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    budget: Budget,
    description: str = "measuring",
    *,
    shuffled: bool = False,
    warm_up: bool = True,
) -> Turns:
    """Time calls in turns, until so many rounds are done or another one would end too late.

    Args:
        calls: by name; one that returns ``Taken`` says itself how long it took.
        rounds: at most, and at least one, whatever the budget.
        budget: of all rounds together.
        description: of the progress bar, on standard error.
        shuffled: another order in each round.
        warm_up: one round more at the beginning, which counts only if there is no time for a second one.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1")
    taken: dict[str, list[Taken]] = {name: [] for name in calls}
    for turn in tqdm(range(rounds + warm_up), description, unit="round", leave=False):
        begun = time()
        for name in random.Random(turn).sample(list(calls), len(calls)) if shuffled else calls:
            gc.collect()
            begin = Taken.now()
            result = calls[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            own = begin.until(Taken.now())
            taken[name].append(result if isinstance(result, Taken) else own)
            del result
        if budget.left() < time() - begun:
            break
    warmed_up = not warm_up or turn > 0
    if warm_up and warmed_up:
        taken = {name: each[1:] for name, each in taken.items()}
    return Turns(taken, turn + 1 - (warm_up and warmed_up), warmed_up)


class StepClock(TrainerCallback):
    """How long the steps of a Trainer take, from the end of one to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[Taken] = []

    def on_step_end(self, *_: Any, **others: Any) -> None:
        """One more."""
        self.ends.append(Taken.now())

    def take(self) -> Taken:
        """Medians of all steps but the first, which warms up; and begin anew."""
        ends, self.ends = self.ends, []
        steps = [before.until(after) for before, after in pairwise(ends)]
        return Taken(*(median(column) for column in zip(*steps, strict=True)))
