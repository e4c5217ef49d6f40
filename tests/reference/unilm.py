"""UniLM from the papers alone: one token at a time looks at those that it may see, and nothing is kept for later.

Sources: BERT (arXiv 1810.04805), UniLM (arXiv 1905.03197), section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def visible(place: int, segments: Sequence[int]) -> list[int]:
    """Who is seen from a place: the source, and if the place is of the target, that as far as the place."""
    return [
        other for other, segment in enumerate(segments) if segment == 0 or (segments[place] == 1 and other <= place)
    ]


def logits(weights: Mapping[str, Tensor], heads: int, ids: Sequence[int], segments: Sequence[int]) -> Tensor:
    """Scores of the token that follows each one, in one row without padding, shape ``(length, vocabulary)``."""
    tables = "bert.embeddings"
    states = [
        _norm(
            weights[f"{tables}.word_embeddings.weight"][token]
            + weights[f"{tables}.position_embeddings.weight"][place]
            + weights[f"{tables}.token_type_embeddings.weight"][segment],
            weights,
            f"{tables}.LayerNorm",
        )
        for place, (token, segment) in enumerate(zip(ids, segments, strict=True))
    ]
    layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("bert.encoder.layer."))
    for layer in range(layers):
        name = f"bert.encoder.layer.{layer}"
        states = [_layer(states, place, segments, weights, name, heads) for place in range(len(states))]
    head = "cls.predictions"
    scores = []
    for state in states:
        hidden = torch.nn.functional.gelu(_linear(state, weights, f"{head}.transform.dense"))
        hidden = _norm(hidden, weights, f"{head}.transform.LayerNorm")
        scores.append(weights[f"{tables}.word_embeddings.weight"] @ hidden + weights[f"{head}.bias"])
    return torch.stack(scores)


def greedy(
    weights: Mapping[str, Tensor], heads: int, source: Sequence[int], end: int, forbidden: Sequence[int], steps: int
) -> list[int]:
    """The target that takes the best token each time, its end included where it comes."""
    target: list[int] = []
    while len(target) < steps and end not in target:
        target.append(int(_following(weights, heads, source, target, forbidden).argmax()))
    return target


def beams(
    weights: Mapping[str, Tensor],
    heads: int,
    source: Sequence[int],
    end: int,
    forbidden: Sequence[int],
    steps: int,
    number: int,
) -> list[int]:
    """The target of the highest mean log probability per token that beam search meets, as transformers scores it."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for step in range(1, steps + 1):
        found = []
        for score, target in running:
            following = _following(weights, heads, source, target, forbidden).log_softmax(-1)
            found += [(score + float(value), [*target, token]) for token, value in enumerate(following)]
        best = sorted(found, key=lambda one: -one[0])[: 2 * number]
        finished += [(score / step, target) for score, target in best[:number] if target[-1] == end]
        finished = sorted(finished, key=lambda one: -one[0])[:number]
        running = [(score, target) for score, target in best if target[-1] != end][:number]
        if len(finished) == number and running[0][0] / step <= finished[-1][0]:
            return finished[0][1]
    finished += [(score / steps, target) for score, target in running]
    return max(finished, key=lambda one: one[0])[1]


def _following(
    weights: Mapping[str, Tensor], heads: int, source: Sequence[int], target: Sequence[int], forbidden: Sequence[int]
) -> Tensor:
    segments = [0] * len(source) + [1] * len(target)
    scores = logits(weights, heads, [*source, *target], segments)[-1].clone()
    # Forbidden before the softmax would be another distribution; transformers forbids behind it, where it searches.
    scores = scores.log_softmax(-1)
    scores[list(forbidden)] = -math.inf
    return scores


def _layer(
    states: Sequence[Tensor], place: int, segments: Sequence[int], weights: Mapping[str, Tensor], name: str, heads: int
) -> Tensor:
    own = states[place]
    seen = visible(place, segments)
    query = _linear(own, weights, f"{name}.attention.self.query").view(heads, -1)
    mixed = torch.zeros_like(query)
    keys = {other: _linear(states[other], weights, f"{name}.attention.self.key").view(heads, -1) for other in seen}
    values = {other: _linear(states[other], weights, f"{name}.attention.self.value").view(heads, -1) for other in seen}
    for head in range(heads):
        scores = torch.stack([query[head] @ keys[other][head] for other in seen]) / math.sqrt(query.shape[1])
        for share, other in zip(scores.softmax(0), seen, strict=True):
            mixed[head] = mixed[head] + share * values[other][head]
    attended = _linear(mixed.flatten(), weights, f"{name}.attention.output.dense")
    attended = _norm(own + attended, weights, f"{name}.attention.output.LayerNorm")
    inner = torch.nn.functional.gelu(_linear(attended, weights, f"{name}.intermediate.dense"))
    return _norm(attended + _linear(inner, weights, f"{name}.output.dense"), weights, f"{name}.output.LayerNorm")


def _linear(state: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.weight"] @ state + weights[f"{name}.bias"]


def _norm(state: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    centred = state - state.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-12) * weights[f"{name}.weight"] + weights[f"{name}.bias"]
