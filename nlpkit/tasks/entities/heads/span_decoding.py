"""Spans out of scores: all that are above the threshold, those of them that do not overlap, and labels of units."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.multi_label.zlpr import zlpr_probabilities
from nlpkit.tasks.entities.heads.span_scores import SpanScores

#: Scores of so many spans and types are there at a time.
_AT_A_TIME = 2**24


class UnitSpan(NamedTuple):
    """A span of units that was found.

    Args:
        text: number of the text in the batch.
        first: unit.
        last: unit, the span's own.
        type: number of the type.
        score: probability.
    """

    text: int
    first: int
    last: int
    type: int
    score: float


def find_spans(scores: SpanScores, threshold: float = 0.5) -> list[UnitSpan]:
    """All spans and types whose probability is above a threshold, nested and overlapping ones included.

    Args:
        scores: of all spans.
        threshold: probability, ``sigmoid(2s)`` of a score ``s``; 0.5 is what ZLPR trains for.

    Returns:
        The spans, by text, first and last unit.

    Raises:
        ValueError: the threshold is not between 0 and 1.

    Note:
        Types are looked at a few at a time: 16 million scores are there at once, however many types there are.

    Example:
        >>> find_spans(SpanScores(torch.tensor([[[[2.0, -1.0], [-torch.inf, 0.5]]]])))
        [UnitSpan(text=0, first=0, last=0, type=0, score=0.98...), UnitSpan(text=0, first=1, last=1, ...)]
    """
    checked_number("threshold", threshold, above=0, below=1, hint="it is a probability")
    level = float(torch.logit(torch.tensor(threshold, dtype=torch.float64))) / 2
    few = max(1, _AT_A_TIME // max(1, scores.pairs[:, :1].numel()))
    found: list[UnitSpan] = []
    for begin in range(0, scores.types, few):
        part = at_least_fp32(scores.of_types(begin, begin + few))
        places = (part > level).nonzero()
        for (text, kind, first, last), score in zip(
            places.tolist(), zlpr_probabilities(part[part > level]).tolist(), strict=True
        ):
            found.append(UnitSpan(text, first, last, begin + kind, score))
    return sorted(found)


def without_overlaps(spans: list[UnitSpan]) -> list[UnitSpan]:
    """The best spans of each text that share no unit: the most probable one, then the next that is free, and so on.

    Args:
        spans: in any order.

    Returns:
        Those that stay, by text and unit.

    Example:
        >>> [span.last for span in without_overlaps([UnitSpan(0, 0, 2, 0, 0.8), UnitSpan(0, 2, 3, 0, 0.9)])]
        [3]
    """
    taken: dict[int, set[int]] = {}
    kept = []
    for span in sorted(spans, key=lambda span: (-span.score, span)):
        units, own = taken.setdefault(span.text, set()), range(span.first, span.last + 1)
        if units.isdisjoint(own):
            units.update(own)
            kept.append(span)
    return sorted(kept)


def unit_logits(scores: SpanScores, units: Tensor) -> Tensor:
    """Scores of spans as logits of BIO labels, for those who read labels of units, such as transformers' pipeline.

    ``O`` has 0; ``B-X`` twice the score of the best span of ``X`` that begins at the unit, and ``I-X`` that of the
    best one over the unit that began before. A softmax over ``O`` and one of them is the span's probability.

    Args:
        scores: of all spans.
        units: which positions count, shape ``(batch, length)``, boolean.

    Returns:
        Shape ``(batch, length, 1 + 2 * types)`` in the order ``O``, ``B-`` and ``I-`` of each type; finite, and ``O``
        where there is no unit.

    Note:
        Spans within others are lost in labels.

    Example:
        >>> scores = SpanScores(torch.tensor([[[[-1.0, 2.0], [-torch.inf, -3.0]]]]))
        >>> unit_logits(scores, torch.tensor([[True, True]]))[0].argmax(dim=-1).tolist()
        [1, 2]
    """
    batch, _, length, _ = scores.pairs.shape
    few = max(1, _AT_A_TIME // max(1, scores.pairs[:, :1].numel()))
    parts = []
    for begin in range(0, scores.types, few):
        part = at_least_fp32(scores.of_types(begin, begin + few))
        reaching = part.flip(-1).cummax(dim=-1).values.flip(-1)  # the best span from i that ends at j or later
        begins = reaching.diagonal(dim1=-2, dim2=-1)  # (batch, few, length)
        before = reaching.cummax(dim=-2).values  # ... and from i or before
        inside = before.diagonal(offset=1, dim1=-2, dim2=-1)  # from i at the most, over i + 1
        inside = torch.cat([inside.new_full((*inside.shape[:2], 1), -torch.inf), inside], dim=-1)
        parts.append(torch.stack([begins, inside[..., :length]], dim=2).flatten(1, 2))  # (batch, 2 * few, length)
    labels = 2 * torch.cat(parts, dim=1).mT  # (batch, length, 2 * types)
    labels = torch.where(units[:, :, None], labels, -torch.inf).clamp(min=torch.finfo(labels.dtype).min)
    return torch.cat([labels.new_zeros(batch, length, 1), labels], dim=-1)
