"""Impact matrices by their definition: for every ordered pair of units two passes of the whole model, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def naive_impact(
    model: Any,
    token_ids: Sequence[int],
    owners: Sequence[int],
    mask_id: int,
    layer: int,
    distance: str = "euclidean",
    merge: str = "vectors",
) -> NDArray[np.float64]:
    """``F[i, j] = d(H(x without i)_i, H(x without i and j)_i)`` in a double loop."""
    count = max(owners) + 1
    impact = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            once = predictions(model, token_ids, owners, mask_id, {i}, layer, distance)
            twice = predictions(model, token_ids, owners, mask_id, {i, j}, layer, distance)
            pieces = [position for position, owner in enumerate(owners) if owner == i]
            targets = [token_ids[position] for position in pieces]
            impact[i, j] = difference(
                [once[position] for position in pieces],
                [twice[position] for position in pieces],
                targets,
                distance,
                merge,
            )
    return impact


def predictions(
    model: Any,
    token_ids: Sequence[int],
    owners: Sequence[int],
    mask_id: int,
    masked: set[int],
    layer: int,
    distance: str,
) -> NDArray[np.float64]:
    """A vector a position: the hidden state, or the predicted distribution."""
    ids = [mask_id if owner in masked else token for token, owner in zip(token_ids, owners, strict=True)]
    with torch.no_grad():
        output = model(torch.tensor([ids]), output_hidden_states=True)
    if distance in ("euclidean", "cosine"):
        return np.asarray(output.hidden_states[layer][0].double())
    return np.asarray(output.logits[0].double().softmax(-1))


def difference(
    once: list[Vector], twice: list[Vector], targets: list[int], distance: str, merge: str
) -> float:
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
