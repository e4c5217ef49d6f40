"""Streams sentences through the model: windows of bounded work, batches of one length, results in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import torch

from nlpkit.perturbed_masking.impact.copies import LengthGroup, count_copies
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import GroupMeasurement, Impact, Measure
from nlpkit.perturbed_masking.impact.processes import Processes, share_out
from nlpkit.perturbed_masking.impact.units import Units

#: A window ends when its copies fill so many batches, or with so many sentences.
_WINDOW_BATCHES, _WINDOW_SENTENCES = 256, 1024


def default_batch_tokens(device: torch.device) -> int:
    """Tokens a batch that keep a processor of this kind busy; more of them fall out of a CPU's caches.

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
    processes: Processes | None = None,
    finished: Callable[[int], object] = lambda count: None,
) -> Iterator[Impact]:
    """Impact matrices of a stream of sentences.

    Source: Wu et al. (2020), arXiv 2004.14786: ``f(i, j) = d(H(x without i)_i, H(x without i and j)_i)``. The copy
    without ``i`` and ``j`` serves ``f(i, j)`` and ``f(j, i)``, so ``n (n + 1) / 2`` copies give all of them.

    Args:
        encoder: the model.
        sentences: each within the model's limit.
        measures: what to measure, all in one pass.
        mask_id: the mask token.
        reach: influence is measured up to this distance between units, and 0 beyond; ``None`` measures all.
        batch_tokens: tokens a batch; ``default_batch_tokens`` by default.
        processes: share each window out over these. Every one of them must call with the same sentences, and gets all
            results.
        finished: called with numbers of sentences as they get done, before they are yielded.

    Yields:
        For each sentence, in order, ``(measures, n, n)`` in fp32: row ``i`` says how much each unit sways the
        prediction of unit ``i``; the diagonal is 0.

    Note:
        Memory is bounded by the window (256 batches of copies), whatever the length of the stream.
    """
    tokens = batch_tokens or default_batch_tokens(encoder.device)
    processes = processes or Processes()
    encoder.model.eval()
    for window in _windows(sentences, reach, tokens, processes.count):
        costs = [_cost(units, reach) for units in window]
        own = share_out(costs, processes.count)[processes.rank]
        own.sort(key=lambda number: -len(window[number].token_ids))  # what does not fit in memory fails at once
        results: dict[int, Impact] = {}
        for _, alike in groupby(own, key=lambda number: len(window[number].token_ids)):
            numbers = list(alike)
            group = LengthGroup([window[number] for number in numbers], mask_id, reach)
            matrices = GroupMeasurement(encoder, group, measures).run(tokens)
            results.update(zip(numbers, matrices, strict=True))
            finished(len(numbers))
        finished(len(window) - len(own))
        results = processes.gather(results)
        yield from (results[number] for number in range(len(window)))


def _cost(units: Units, reach: int | None) -> int:
    return count_copies(len(units), reach) * len(units.token_ids)


def _windows(sentences: Iterable[Units], reach: int | None, tokens: int, processes: int) -> Iterator[list[Units]]:
    window: list[Units] = []
    cost = 0
    for units in sentences:
        window.append(units)
        cost += _cost(units, reach)
        if cost >= tokens * _WINDOW_BATCHES * processes or len(window) >= _WINDOW_SENTENCES * processes:
            yield window
            window, cost = [], 0
    if window:
        yield window
