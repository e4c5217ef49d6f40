"""From hidden states of masked copies to impact matrices, for any number of measures in one pass of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.perturbed_masking.impact.copies import Batch, LengthGroup
from nlpkit.perturbed_masking.impact.distances import (
    DISTANCES,
    MERGES,
    OF_PREDICTIONS,
    Distance,
    Merge,
    cosine,
    euclidean,
    jensen_shannon,
    merge_values,
    probability,
)
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder

#: Impact of units on each other by several measures, ``(measures, n, n)``.
Matrices = NDArray[np.float32]
#: What a measure compares: the states of a layer, or the probability of the true token.
View = int | Literal["probability"]

#: Rows whose distributions over the vocabulary are in memory at once.
_ROWS_WITH_VOCABULARY = 256


class _Measure(NamedTuple):
    layer: int = -1
    distance: Distance = "euclidean"
    merge: Merge = "vectors"


class Measure(_Measure):
    """What is compared, how, and how the pieces of a unit become one value.

    Args:
        layer: from 1 to the number of layers, or counted from the last, -1, down; the last for distances of
            predictions.
        distance: ``"euclidean"`` and ``"cosine"`` of hidden states; ``"probability"`` that the true token loses, and
            ``"jensen_shannon"`` divergence, of predicted distributions.
        merge: for units of several pieces. ``"vectors"`` averages the states (or distributions) of the pieces and
            takes one distance; ``"first"``, ``"mean"`` and ``"max"`` take one distance per piece, then that of them.

    Raises:
        TypeError: the layer is no number.
        ValueError: an unknown distance or merge.

    Example:
        >>> Measure(layer=4, distance="cosine")
        Measure(layer=4, distance='cosine', merge='vectors')
    """

    __slots__ = ()

    def __new__(cls, layer: int = -1, distance: Distance = "euclidean", merge: Merge = "vectors") -> Measure:
        """Refuse what no model can measure."""
        if isinstance(layer, bool | str | float | None):
            raise TypeError(f"layer={layer!r} is no number of a layer; give distances as Measure(distance=...)")
        if distance not in DISTANCES:
            raise ValueError(f"distance={distance!r} is unknown; use one of {', '.join(DISTANCES)}")
        if merge not in MERGES:
            raise ValueError(f"merge={merge!r} is unknown; use one of {', '.join(MERGES)}")
        return super().__new__(cls, layer, distance, merge)


def settled(measure: Measure, encoder: MaskedEncoder) -> Measure:
    """The measure with its layer counted from 1, unless the model cannot give it.

    Raises:
        TypeError: it is no ``Measure``.
        ValueError: a layer that the model lacks, or predictions of a model without a trained vocabulary head or of a
            layer below the last.
    """
    given: object = measure
    if not isinstance(given, Measure):
        distance = given if given in DISTANCES else "cosine"
        raise TypeError(f'measure={given!r} is no Measure; give one, such as Measure(distance="{distance}")')
    layer = measure.layer + (encoder.layers + 1 if measure.layer < 0 else 0)
    if not 1 <= layer <= encoder.layers:
        raise ValueError(f"layer={measure.layer}, but the model has the layers 1 to {encoder.layers}")
    if measure.distance in OF_PREDICTIONS and not encoder.has_head:
        raise ValueError(
            f"distance={measure.distance!r} compares predictions, but the model has no trained vocabulary head; "
            "use 'euclidean' or 'cosine'"
        )
    if measure.distance in OF_PREDICTIONS and layer != encoder.layers:
        raise ValueError(
            f"distance={measure.distance!r} compares predictions, which are made from layer {encoder.layers}, "
            f"the last; layer={measure.layer} has none"
        )
    return measure._replace(layer=layer)


class GroupMeasurement:
    """Impact matrices of the sentences of a group, filled batch by batch.

    Args:
        encoder: the model.
        group: the sentences.
        measures: what to measure, ``settled`` for the model.
    """

    def __init__(self, encoder: MaskedEncoder, group: LengthGroup, measures: Sequence[Measure]) -> None:
        self.encoder, self.group, self.measures = encoder, group, measures
        #: What units masked alone look like, by what the measures compare, each (sentences * length, size).
        self._alone: dict[View, Tensor] = {}
        widest = max(group.sizes)
        shape = (len(group.sizes), len(measures), widest, widest)
        self._impact = torch.zeros(shape, dtype=torch.float32, device=encoder.device)

    def run(self, batch_tokens: int) -> list[Matrices]:
        """Send all copies through the model.

        Args:
            batch_tokens: as for ``LengthGroup.batches``.

        Returns:
            For each sentence its matrices, shape ``(measures, n, n)``.
        """
        for batch in self.group.batches(batch_tokens):
            self._add(batch)
        impact = self._impact.cpu().numpy()
        return [rows[:, :size, :size].copy() for rows, size in zip(impact, self.group.sizes, strict=True)]

    def _add(self, batch: Batch) -> None:
        device = self.encoder.device
        views = self._look(batch)
        places = batch.sentences * self.group.length + batch.positions
        is_alone = batch.units == batch.others
        alone, paired = (choice.nonzero()[:, 0] for choice in (is_alone, ~is_alone))
        at_alone, at_paired = places[alone].to(device), places[paired].to(device)
        units = _Units(batch, paired, device)
        alone, paired = alone.to(device), paired.to(device)
        for name, view in views.items():
            if name not in self._alone:
                self._alone[name] = view.new_zeros(self.group.token_ids.numel(), view.shape[1])
            self._alone[name][at_alone] = view[alone]
        for number, measure in enumerate(self.measures):
            name = _compared_by(measure)
            values = self._compare(measure, self._alone[name][at_paired], views[name][paired], units)
            self._impact[units.sentences, number, units.units, units.others] = values.float()

    def _look(self, batch: Batch) -> dict[View, Tensor]:
        """What the measures compare, at every row of a batch, each ``(rows, size)``."""
        device = self.encoder.device
        rows = (batch.copies.to(device), batch.positions.to(device))
        layers = sorted({measure.layer for measure in self.measures})
        states = self.encoder.states(batch.input_ids.to(device), rows, layers)
        views: dict[View, Tensor] = dict(states.items())
        if any(measure.distance == "probability" for measure in self.measures):
            targets = self.group.token_ids[batch.sentences, batch.positions].to(device)
            parts = zip(
                states[layers[-1]].split(_ROWS_WITH_VOCABULARY), targets.split(_ROWS_WITH_VOCABULARY), strict=True
            )
            chances = [self.encoder.log_probabilities(part).gather(1, wanted[:, None]) for part, wanted in parts]
            views["probability"] = torch.cat(chances).exp()
        return views

    def _compare(self, measure: Measure, before: Tensor, after: Tensor, units: _Units) -> Tensor:
        """One value per unit, shape ``(units,)``."""
        if measure.distance == "jensen_shannon":
            parts = [self._divergence(measure, before[rows], after[rows], groups) for rows, groups in units.parts()]
            return torch.cat([before.new_zeros(0), *parts])
        distance = {"euclidean": euclidean, "cosine": cosine, "probability": probability}[measure.distance]
        if measure.merge == "vectors":
            before, after = (merge_values(side, units.groups, units.count, "vectors") for side in (before, after))
            return distance(before, after)
        return merge_values(distance(before, after), units.groups, units.count, measure.merge)

    def _divergence(self, measure: Measure, before: Tensor, after: Tensor, groups: Tensor) -> Tensor:
        count = int(groups[-1]) + 1
        sides = [self.encoder.log_probabilities(side) for side in (before, after)]
        if measure.merge != "vectors":
            return merge_values(jensen_shannon(*sides), groups, count, measure.merge)
        if len(groups) > count:
            sides = [merge_values(side.exp(), groups, count, "vectors").log() for side in sides]
        return jensen_shannon(*sides)


def _compared_by(measure: Measure) -> View:
    return "probability" if measure.distance == "probability" else measure.layer


class _Units:
    """The units that the rows of a batch belong to, in copies with two units masked: two units per copy."""

    def __init__(self, batch: Batch, paired: Tensor, device: torch.device) -> None:
        sentences, units, others = (column[paired] for column in (batch.sentences, batch.units, batch.others))
        keys = batch.copies[paired] * batch.input_ids.shape[1] + units  # fewer units than tokens
        _, groups, sizes = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        self.count = len(sizes)
        self._ends = sizes.cumsum(0)
        first = self._ends - sizes
        self.sentences, self.units, self.others = (column[first].to(device) for column in (sentences, units, others))
        self.groups = groups.to(device)

    def parts(self) -> Iterable[tuple[slice, Tensor]]:
        """Rows of few units at a time, and which of those units each row belongs to."""
        for begin in range(0, self.count, _ROWS_WITH_VOCABULARY):
            end = min(begin + _ROWS_WITH_VOCABULARY, self.count)
            rows = slice(int(self._ends[begin - 1]) if begin else 0, int(self._ends[end - 1]))
            yield rows, self.groups[rows] - begin
