"""Impact matrices by their definition: two passes of the whole model for every ordered pair of units, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Vector = NDArray[np.float64]
#: Layer, distance, and the rule that merges the pieces of a unit.
Measure = tuple[int, str, str]


def naive_impact(
    model: Any, token_ids: Sequence[int], owners: Sequence[int], mask_id: int, measures: Sequence[Measure]
) -> NDArray[np.float64]:
    """``F[i, j] = d(H(x without i)_i, H(x without i and j)_i)`` in a double loop, shape ``(measures, n, n)``."""
    count = max(owners) + 1
    impact = np.zeros((len(measures), count, count))
    for i in range(count):
        pieces = [position for position, owner in enumerate(owners) if owner == i]
        targets = [token_ids[position] for position in pieces]
        for j in range(count):
            once = run(model, token_ids, owners, mask_id, {i})
            twice = run(model, token_ids, owners, mask_id, {i, j})
            for number, (layer, distance, merge) in enumerate(measures):
                sides = [[view(output, layer, distance, piece) for piece in pieces] for output in (once, twice)]
                impact[number, i, j] = difference(*sides, targets, distance, merge)
    return impact


def run(model: Any, token_ids: Sequence[int], owners: Sequence[int], mask_id: int, masked: set[int]) -> Any:
    ids = [mask_id if owner in masked else token for token, owner in zip(token_ids, owners, strict=True)]
    with torch.no_grad():
        return model(torch.tensor([ids]), output_hidden_states=True)


def view(output: Any, layer: int, distance: str, position: int) -> Vector:
    """What is compared at a position: the hidden state, or the predicted distribution."""
    if distance in ("euclidean", "cosine"):
        return np.asarray(output.hidden_states[layer][0, position].double())
    return np.asarray(output.logits[0, position].double().softmax(-1))


def difference(once: list[Vector], twice: list[Vector], targets: list[int], distance: str, merge: str) -> float:
    """One number from the vectors of a unit's pieces, by the merging rule."""
    if merge == "vectors" and distance != "probability":
        return distance_of(np.mean(once, axis=0), np.mean(twice, axis=0), 0, distance)
    values = [distance_of(*sides, distance) for sides in zip(once, twice, targets, strict=True)]
    return float({"vectors": np.mean, "mean": np.mean, "max": np.max, "first": lambda v: v[0]}[merge](values))


def distance_of(once: Vector, twice: Vector, target: int, distance: str) -> float:
    if distance == "euclidean":
        return float(np.sqrt(((once - twice) ** 2).sum()))
    if distance == "cosine":
        return float(1 - once @ twice / np.sqrt((once @ once) * (twice @ twice)))
    if distance == "probability":
        return float(once[target] - twice[target])
    middle = (once + twice) / 2
    return float(((once * np.log(once / middle)).sum() + (twice * np.log(twice / middle)).sum()) / 2)
