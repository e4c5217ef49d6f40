"""Streams sentences through the model: windows of bounded work, batches of one length, results in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from nlpkit.perturbed_masking.impact.copies import LengthGroup, count_copies
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.measurement import GroupMeasurement, Matrices, Measure
from nlpkit.perturbed_masking.impact.processes import Processes, share_out
from nlpkit.perturbed_masking.impact.units import Units

#: A window ends when its copies fill so many batches, or with so many sentences.
_WINDOW_BATCHES, _WINDOW_SENTENCES = 256, 1024


class Impact(NamedTuple):
    """A sentence and the impact of its units on each other.

    Args:
        units: with the sentence that they were cut from.
        matrices: one per measure, ``(measures, n, n)`` in fp32: row ``i`` holds the impact of each unit on the
            prediction of unit ``i``, in the unit of the distance; the diagonal is 0.
    """

    units: Units
    matrices: Matrices


def default_batch_tokens(device: torch.device) -> int:
    """Tokens per batch that keep a processor of this kind busy; more of them do not fit a CPU's caches.

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
        sentences: each within the model's limit, or in parts that are; parts have no impact on each other: 0.
        measures: what to measure, all in one pass, ``settled`` for the model.
        mask_id: the mask token.
        reach: impact is measured up to this distance between units, and 0 beyond; ``None`` measures all.
        batch_tokens: tokens per batch; ``default_batch_tokens`` by default.
        processes: share each window out over these. Every one of them must call with the same sentences, and gets all
            results.
        finished: called with numbers of sentences as they get done, before they are yielded.

    Yields:
        Each sentence with its matrices, in order.

    Note:
        Memory is bounded by the window (256 batches of copies), whatever the length of the stream.
    """
    tokens = batch_tokens or default_batch_tokens(encoder.device)
    processes = processes or Processes()
    encoder.model.eval()
    for window in windows(sentences, lambda units: _cost(units, reach), tokens, processes.count):
        parts = [part for units in window for part in _parts(units)]
        starts_sentence = [place == 0 for units in window for place in range(len(_parts(units)))]
        own = share_out([_part_cost(part, reach) for part in parts], processes.count)[processes.rank]
        own.sort(key=lambda number: -len(parts[number].token_ids))  # what does not fit in memory fails at once
        results: dict[int, Matrices] = {}
        for _, alike in groupby(own, key=lambda number: len(parts[number].token_ids)):
            numbers = list(alike)
            group = LengthGroup([parts[number] for number in numbers], mask_id, reach)
            results.update(zip(numbers, GroupMeasurement(encoder, group, measures).run(tokens), strict=True))
            finished(sum(starts_sentence[number] for number in numbers))
        finished(len(window) - sum(starts_sentence[number] for number in own))
        results = processes.gather(results)
        ordered = (results[number] for number in range(len(parts)))
        for units in window:
            yield Impact(units, _on_the_diagonal([next(ordered) for _ in _parts(units)]))


def _parts(units: Units) -> Sequence[Units]:
    return units.parts or (units,)


def _cost(units: Units, reach: int | None) -> int:
    return sum(_part_cost(part, reach) for part in _parts(units))


def _part_cost(part: Units, reach: int | None) -> int:
    return count_copies(len(part), reach) * len(part.token_ids)


def windows(
    sentences: Iterable[Units], cost: Callable[[Units], int], tokens: int, processes: int
) -> Iterator[list[Units]]:
    """Cut a stream into windows of bounded work.

    Args:
        sentences: any number.
        cost: of a sentence, in tokens that go through the model.
        tokens: per batch.
        processes: that share a window.

    Yields:
        Lists of sentences, none empty.
    """
    window: list[Units] = []
    spent = 0
    for units in sentences:
        window.append(units)
        spent += cost(units)
        if spent >= tokens * _WINDOW_BATCHES * processes or len(window) >= _WINDOW_SENTENCES * processes:
            yield window
            window, spent = [], 0
    if window:
        yield window


def _on_the_diagonal(parts: Sequence[Matrices]) -> Matrices:
    if len(parts) == 1:
        return parts[0]
    size = sum(part.shape[1] for part in parts)
    whole = np.zeros((len(parts[0]), size, size), np.float32)
    start = 0
    for part in parts:
        end = start + part.shape[1]
        whole[:, start:end, start:end] = part
        start = end
    return whole
