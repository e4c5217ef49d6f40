"""Streams sentences through the model: windows of bounded work, batches of one length, results in the order they came."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch

from nlpkit.perturbed_masking.copies import LengthGroup, count_copies
from nlpkit.perturbed_masking.encoder import MaskedEncoder
from nlpkit.perturbed_masking.measurement import GroupMeasurement, Matrices, Measure
from nlpkit.perturbed_masking.units import Units

#: A window ends when its copies fill so many batches, or with so many sentences.
_WINDOW_BATCHES, _WINDOW_SENTENCES = 64, 1024


def default_batch_tokens(device: torch.device) -> int:
    """Tokens a batch that keep a processor of this kind busy; more only takes memory.

    Example:
        >>> default_batch_tokens(torch.device("cpu"))
        4096
    """
    return 4096 if device.type == "cpu" else 65_536


def measure_impacts(
    encoder: MaskedEncoder,
    sentences: Iterable[Units],
    measures: Sequence[Measure],
    *,
    mask_id: int,
    reach: int | None = None,
    batch_tokens: int | None = None,
    across_processes: bool = False,
    finished: Callable[[int], object] = lambda count: None,
) -> Iterator[Matrices]:
    """Impact matrices of a stream of sentences.

    Source: Wu et al. (2020), arXiv 2004.14786: ``f(i, j) = d(H(x without i)_i, H(x without i and j)_i)``. The copy
    without ``i`` and ``j`` serves ``f(i, j)`` and ``f(j, i)``, so ``n (n + 1) / 2`` copies give all of them.

    Args:
        encoder: the model.
        sentences: each within the model's limit.
        measures: what to measure, all in one pass.
        mask_id: the mask token.
        reach: influence is measured up to this distance between units, and 0 beyond; ``None`` measures all.
        batch_tokens: tokens a batch; :func:`default_batch_tokens` by default.
        across_processes: share each window out over the processes that ``accelerate`` started. Every process must
            call with the same sentences, and gets all results.
        finished: called with numbers of sentences as they get done, before they are yielded.

    Yields:
        For each sentence, in order, ``(measures, n, n)`` in fp32: row ``i`` says how much each unit sways the prediction
        of unit ``i``; the diagonal is 0.

    Note:
        Memory is bounded by the window (some 64 batches of copies), whatever the length of the stream.
    """
    tokens = batch_tokens or default_batch_tokens(encoder.device)
    processes = _Processes(across_processes)
    encoder.model.eval()
    for window in _windows(sentences, reach, tokens * _WINDOW_BATCHES * processes.count, processes.count):
        costs = [_cost(units, reach) for units in window]
        own = share_out(costs, processes.count)[processes.rank]
        results = dict.fromkeys(range(len(window)), np.zeros((len(measures), 0, 0), np.float32))
        longest_first = sorted(own, key=lambda number: -len(window[number].token_ids))  # out of memory at once or not
        for _, numbers in groupby(longest_first, key=lambda number: len(window[number].token_ids)):
            alike = list(numbers)
            group = LengthGroup([window[number] for number in alike], mask_id, reach)
            matrices = GroupMeasurement(encoder, group, measures).run(tokens)
            results.update(zip(alike, matrices, strict=True))
            finished(len(alike))
        results = processes.gather(results, own)
        finished(len(window) - len(own))
        yield from (results[number] for number in range(len(window)))


def share_out(costs: Sequence[int], processes: int) -> list[list[int]]:
    """Deal jobs to processes so that all have about as much to do.

    Args:
        costs: of each job, in any unit.
        processes: how many there are.

    Returns:
        For each process the numbers of its jobs: the dearest job first, always to the process with least so far.

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


def _cost(units: Units, reach: int | None) -> int:
    return count_copies(len(units), reach) * len(units.token_ids)


def _windows(sentences: Iterable[Units], reach: int | None, tokens: int, processes: int) -> Iterator[list[Units]]:
    window: list[Units] = []
    cost = 0
    for units in sentences:
        window.append(units)
        cost += _cost(units, reach)
        if cost >= tokens or len(window) >= _WINDOW_SENTENCES * processes:
            yield window
            window, cost = [], 0
    if window:
        yield window


class _Processes:
    """The processes that work is shared out over: those of accelerate, or this one alone."""

    def __init__(self, all_of_them: bool) -> None:
        self.rank, self.count = 0, 1
        if all_of_them:
            from accelerate import PartialState

            state = PartialState()
            self.rank, self.count = state.process_index, state.num_processes

    def gather(self, results: dict[int, Matrices], own: Sequence[int]) -> dict[int, Matrices]:
        """The results of all processes."""
        if self.count == 1:
            return results
        from accelerate.utils import gather_object

        return dict(gather_object([(number, results[number]) for number in own]))
