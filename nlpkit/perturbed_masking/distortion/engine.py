"""Contextual distortion of every span of a stream of sentences, in batches of one length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.perturbed_masking.distortion.rearrangements import NOT_A_UNIT, Rearrangement, rearrangements
from nlpkit.perturbed_masking.impact.distances import merge_values
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.engine import default_batch_tokens, windows
from nlpkit.perturbed_masking.impact.processes import Processes, share_out
from nlpkit.perturbed_masking.impact.units import Units

#: Distortion of each span by some layers, ``(layers, n, n + 1)``.
Tables = NDArray[np.float32]


class Distortion(NamedTuple):
    """A sentence and how much its words change where a span of it is replaced, left alone, or moved.

    Args:
        units: with the sentence that they were cut from.
        tables: one per layer, shape ``(layers, n, n + 1)``, fp32: of each half-open range of units, in the square of
            the states' unit; 0 for single units and for the whole, which every tree has.
    """

    units: Units
    tables: Tables


def measure_distortions(
    encoder: MaskedEncoder,
    sentences: Iterable[Units],
    layers: Sequence[int],
    *,
    mask_id: int,
    commas: Callable[[Units], tuple[int, ...]],
    batch_tokens: int | None = None,
    processes: Processes | None = None,
    finished: Callable[[int], object] = lambda count: None,
) -> Iterator[Distortion]:
    """Distortion tables of a stream of sentences.

    Each rearrangement of ``rearrangements`` has one or more regions: the span, what is left of it, and what is right
    of it. The distortion of a region is the mean, over its units, of the squared distance between the unit's states
    in the rearranged sentence and in the sentence itself, a unit's state being the mean of its tokens'. The
    distortion of a span is the mean over all regions of its four rearrangements, eight, or six at the borders.

    Source: Li and Lu (2023), arXiv 2306.00645, sections 3.1 and 3.2.

    Args:
        encoder: the model.
        sentences: each within the model's limit, with room for two commas.
        layers: hidden layers to compare, from 1, all in one pass.
        mask_id: the mask token.
        commas: the tokens of a comma, as a sentence writes it.
        batch_tokens: tokens per batch; ``default_batch_tokens`` by default.
        processes: as for ``measure_impacts``.
        finished: as for ``measure_impacts``.

    Yields:
        Each sentence with its tables, in order.

    Note:
        About ``2 n²`` passes, four times as many as impact.
    """
    tokens = batch_tokens or default_batch_tokens(encoder.device)
    processes = processes or Processes()
    encoder.model.eval()
    for window in windows(sentences, _cost, tokens, processes.count):
        own = share_out([_cost(units) for units in window], processes.count)[processes.rank]
        batches = _Batches(encoder, [window[number] for number in own], layers)
        for copies in batches.of_one_length(mask_id, commas, tokens):
            batches.add(copies)
        results = processes.gather(dict(zip(own, batches.tables(), strict=True)))
        finished(len(window))
        for number, units in enumerate(window):
            yield Distortion(units, results[number])


def _cost(units: Units) -> int:
    return 2 * len(units) ** 2 * len(units.token_ids)


class _Copy(NamedTuple):
    """A rearrangement of one of the sentences, by its number."""

    sentence: int
    rearranged: Rearrangement


class _Batches:
    """Distortion tables of some sentences, filled batch by batch."""

    def __init__(self, encoder: MaskedEncoder, sentences: list[Units], layers: Sequence[int]) -> None:
        self.encoder, self.sentences, self.layers = encoder, sentences, layers
        longest = max((len(units.token_ids) for units in sentences), default=0)
        widest = max(map(len, sentences), default=0)
        #: The unit of each token, (sentences, longest).
        self.owners = torch.full((len(sentences), longest), NOT_A_UNIT, device=encoder.device)
        self.base: dict[int, Tensor] = {}
        shape = (len(layers), len(sentences), widest, widest + 1)
        self.sums = torch.zeros(shape, dtype=torch.float32, device=encoder.device)
        for number, units in enumerate(sentences):
            self.owners[number, : len(units.owners)] = torch.tensor(units.owners)
        self._look_at_sentences(longest)

    def _look_at_sentences(self, longest: int) -> None:
        """The states of the sentences themselves, of each layer ``(sentences, longest, hidden)``."""
        order = sorted(range(len(self.sentences)), key=lambda number: len(self.sentences[number].token_ids))
        for length, alike in groupby(order, key=lambda number: len(self.sentences[number].token_ids)):
            for number in alike:
                ids = torch.tensor([self.sentences[number].token_ids], device=self.encoder.device)
                rows = (torch.zeros_like(ids[0]), torch.arange(length, device=ids.device))
                found = self.encoder.states(ids, rows, self.layers)
                for layer, states in found.items():
                    if layer not in self.base:
                        self.base[layer] = states.new_zeros(len(self.sentences), longest, states.shape[1])
                    self.base[layer][number, :length] = states

    def of_one_length(
        self, mask_id: int, commas: Callable[[Units], tuple[int, ...]], tokens: int
    ) -> Iterator[list[_Copy]]:
        """All copies, the longest first, so that what does not fit in memory fails at once."""
        copies = [
            _Copy(number, rearranged)
            for number, units in enumerate(self.sentences)
            for rearranged in rearrangements(units, mask_id, commas(units))
        ]
        copies.sort(key=lambda copy: -len(copy.rearranged.token_ids))
        for length, alike in groupby(copies, key=lambda copy: len(copy.rearranged.token_ids)):
            group = list(alike)
            most = max(1, tokens // length)
            for begin in range(0, len(group), most):
                yield group[begin : begin + most]

    def add(self, copies: list[_Copy]) -> None:
        """Send copies of one length through the model."""
        device = self.encoder.device
        ids = torch.from_numpy(np.stack([copy.rearranged.token_ids for copy in copies])).to(device)
        origins = torch.from_numpy(np.stack([copy.rearranged.origins for copy in copies])).to(device)
        numbers = torch.tensor([copy.sentence for copy in copies], device=device)
        starts = torch.tensor([copy.rearranged.start for copy in copies], device=device)
        ends = torch.tensor([copy.rearranged.end for copy in copies], device=device)
        outside_is_one = torch.tensor([copy.rearranged.perturbation == "replaced" for copy in copies], device=device)
        copy_of, position = (origins != NOT_A_UNIT).nonzero(as_tuple=True)  # in the order of copies and positions
        rows, origin = (copy_of, position), origins[copy_of, position]
        before = (numbers[copy_of], origin)
        unit = self.owners[before]

        keys = copy_of * self.owners.shape[1] + unit  # the tokens of a unit stay together
        _, groups, sizes = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        first = sizes.cumsum(0) - sizes
        copy_of, unit = copy_of[first], unit[first]
        span = (numbers[copy_of], starts[copy_of], ends[copy_of])
        region = (unit >= span[1]).long() + (unit >= span[2]).long()  # left of the span, in it, right of it
        region = region.masked_fill(outside_is_one[copy_of], 0)
        sizes = torch.zeros(len(copies), 3, dtype=torch.float32, device=device)
        sizes.index_put_((copy_of, region), sizes.new_ones(len(unit)), accumulate=True)

        states = self.encoder.states(ids, rows, self.layers)
        for place, layer in enumerate(self.layers):
            moves = merge_values(states[layer] - self.base[layer][before], groups, len(first), "vectors")
            squares = moves.square().sum(dim=-1).float() / sizes[copy_of, region]
            self.sums[place].index_put_(span, squares, accumulate=True)

    def tables(self) -> list[Tables]:
        """For each sentence its tables, the sums divided by the number of regions."""
        sums = self.sums.cpu().numpy()
        return [
            np.divide(sums[:, number, : len(units), : len(units) + 1], _regions(len(units)), dtype=np.float32)
            for number, units in enumerate(self.sentences)
        ]


def _regions(count: int) -> NDArray[np.float32]:
    """How many regions the four rearrangements of each span have, shape ``(n, n + 1)``."""
    starts, ends = np.indices((count, count + 1))
    outside = np.add(starts > 0, ends < count, dtype=np.float32)
    # Replaced: the outside, all of it one region; alone: the span; moved twice: the span and both sides.
    return 1 + 1 + 2 * (1 + outside)
