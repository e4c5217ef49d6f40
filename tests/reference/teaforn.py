"""TeaForN as the paper says it, one position of one level at a time: no shift, no mask, no tensor of levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: From what a decoder reads up to a position, ``(positions, width)``, to its state at the last of them, ``(width,)``.
StateAt = Callable[[Tensor], Tensor]


def state(
    state_at: StateAt,
    embeddings: Tensor,
    replaced: Sequence[bool],
    feed: Callable[[Tensor], Tensor],
    level: int,
    position: int,
) -> Tensor:
    """What a level gives at a position of one row, counted from 0."""
    read = []
    for place in range(position + 1):
        if level == 1 or not replaced[place]:
            read.append(embeddings[place])
        else:
            read.append(feed(state(state_at, embeddings, replaced, feed, level - 1, place - 1)))
    return state_at(torch.stack(read))


def loss(
    states: Sequence[Sequence[Tensor]],
    weight: Tensor,
    labels: Sequence[int],
    level_weights: Sequence[float],
    drop_repeats: bool,
) -> Tensor:
    """Of one row without a prompt, summed over tokens; ``states[s - 1][t - 1]`` is that of level s at token t."""
    total = torch.zeros((), dtype=weight.dtype)
    for s, level_weight in enumerate(level_weights, start=1):
        for t, label in enumerate(labels, start=1):
            if label == -100 or (drop_repeats and t < s):
                continue
            scores = weight @ states[s - 1][t - 1]
            total = total - level_weight * (scores[label] - scores.exp().sum().log())
    return total
