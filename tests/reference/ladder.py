"""A ladder beside a BERT encoder, computed one layer, row, head and position at a time from the paper's equations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def linear(weights: Weights, name: str, vector: Tensor) -> Tensor:
    result = weights[f"{name}.weight"] @ vector
    return result + weights[f"{name}.bias"] if f"{name}.bias" in weights else result


def layer_norm(weights: Weights, name: str, vector: Tensor, eps: float = 1e-12) -> Tensor:
    centred = vector - vector.mean()
    return centred / torch.sqrt((centred**2).mean() + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(vector: Tensor) -> Tensor:
    return vector * 0.5 * (1 + torch.erf(vector / math.sqrt(2)))


def attend(queries: list[Tensor], keys: list[Tensor], values: list[Tensor], heads: int) -> list[Tensor]:
    size = len(queries[0]) // heads
    results = []
    for query in queries:
        parts = []
        for head in range(heads):
            columns = slice(head * size, (head + 1) * size)
            scores = torch.stack([(query[columns] @ key[columns]) / math.sqrt(size) for key in keys])
            shares = torch.exp(scores) / torch.exp(scores).sum()
            parts.append(sum(share * value[columns] for share, value in zip(shares, values, strict=True)))
        results.append(torch.cat(parts))
    return results


def bert_block(weights: Weights, name: str, states: list[Tensor], heads: int) -> list[Tensor]:
    projected = [
        [linear(weights, f"{name}.attention.self.{kind}", state) for state in states]
        for kind in ("query", "key", "value")
    ]
    found = []
    for state, attended in zip(states, attend(*projected, heads), strict=True):
        middle = layer_norm(
            weights,
            f"{name}.attention.output.LayerNorm",
            state + linear(weights, f"{name}.attention.output.dense", attended),
        )
        inner = gelu(linear(weights, f"{name}.intermediate.dense", middle))
        found.append(
            layer_norm(weights, f"{name}.output.LayerNorm", middle + linear(weights, f"{name}.output.dense", inner))
        )
    return found


def climb(
    weights: Weights,
    stack: str,
    embeddings: Tensor,
    outputs: Sequence[Tensor],
    kept: Sequence[int],
    heads: int,
    merge: str,
    temperature: float,
) -> Tensor:
    """Last states of the ladder for one row without padding.

    ``embeddings`` is what enters the backbone's first block, ``outputs`` what leaves each, shape ``(length, width)``.
    """
    states = [linear(weights, f"{stack}.layer.0.enter", vector) for vector in embeddings]
    for layer in kept:
        name = f"{stack}.layer.{layer}.side"
        taps = [linear(weights, f"{name}.down", vector) for vector in outputs[layer]]
        if merge == "gate":
            mu = 1 / (1 + torch.exp(-weights[f"{name}.alpha"] / temperature))
            mixed = [mu * state + (1 - mu) * tap for state, tap in zip(states, taps, strict=True)]
            states = bert_block(weights, f"{name}.block", mixed, heads)
        else:
            blocks = bert_block(weights, f"{name}.block", states, heads)
            states = [state + tap for state, tap in zip(blocks, taps, strict=True)]
    return torch.stack([linear(weights, f"{stack}.side.up", state) for state in states])
