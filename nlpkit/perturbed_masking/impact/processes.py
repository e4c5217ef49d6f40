"""The processes that work is shared out over."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

Result = TypeVar("Result")


class Processes:
    """The processes that ``accelerate launch`` started, or this one alone.

    Args:
        all_of_them: ``False`` for this process alone, whatever else runs.

    Example:
        >>> Processes().count, Processes().is_main
        (1, True)
    """

    def __init__(self, all_of_them: bool = False) -> None:
        self.rank, self.count = 0, 1
        self.device: torch.device | None = None
        if all_of_them:
            from accelerate import PartialState
            from accelerate.utils import parse_flag_from_env

            # Without the flag accelerate sees but one process on a machine that has no accelerator.
            state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())
            self.rank, self.count, self.device = state.process_index, state.num_processes, state.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and draws bars."""
        return self.rank == 0

    def gather(self, results: Mapping[int, Result]) -> dict[int, Result]:
        """The results of all processes, by their numbers, in every process.

        Args:
            results: this process's own.
        """
        if self.count == 1:
            return dict(results)
        from accelerate.utils import gather_object

        return dict(gather_object(list(results.items())))


def share_out(costs: Sequence[int], processes: int) -> list[list[int]]:
    """Deal jobs to processes so that all have about as much to do.

    Args:
        costs: of each job, in any unit.
        processes: how many there are.

    Returns:
        For each process the numbers of its jobs, ascending: the dearest job first, always to the process with least so
        far.

    Example:
        >>> share_out([5, 1, 4, 2], processes=2)
        [[0, 1], [2, 3]]
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    loads = [(0, process) for process in range(processes)]
    for job in sorted(range(len(costs)), key=lambda job: -costs[job]):
        load, process = heapq.heappop(loads)
        shares[process].append(job)
        heapq.heappush(loads, (load + costs[job], process))
    return [sorted(share) for share in shares]
