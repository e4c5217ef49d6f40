"""A score for every span of units and every type: GlobalPointer, and its efficient form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class SpanScores(NamedTuple):
    """Scores of all spans of a batch, whole or in parts; the score of a type is the sum of its parts.

    Args:
        pairs: shape ``(batch, types, length, length)``, or ``(batch, 1, length, length)`` where all types share it;
            -inf where there is no span.
        starts: what a type adds for the first unit, shape ``(batch, types, length)``; ``None`` where ``pairs`` is all.
        ends: likewise for the last unit.
    """

    pairs: Tensor
    starts: Tensor | None = None
    ends: Tensor | None = None

    @property
    def types(self) -> int:
        """How many types there are."""
        return self.pairs.shape[1] if self.starts is None else self.starts.shape[1]

    def of_types(self, begin: int, end: int) -> Tensor:
        """The whole scores of some types, shape ``(batch, end - begin, length, length)``.

        Example:
            >>> pairs = torch.tensor([[[[0.0, 1.0], [-torch.inf, 2.0]]]])
            >>> SpanScores(pairs, torch.tensor([[[0.0, 5.0]]]), torch.tensor([[[7.0, 0.0]]])).of_types(0, 1)[0, 0]
            tensor([[7., 1.],
                    [-inf, 7.]])
        """
        if self.starts is None or self.ends is None:
            return self.pairs[:, begin:end]
        return self.pairs + self.starts[:, begin:end, :, None] + self.ends[:, begin:end, None, :]


def rotate(vectors: Tensor, base: float = 10000.0) -> Tensor:
    """Turn pairs of numbers by their position, so that an inner product depends on how far apart two vectors stand.

    Source: rotary position embedding, arXiv 2104.09864; kexue.fm/archives/8265.

    Args:
        vectors: shape ``(..., length, size)``, with an even size; numbers ``2i`` and ``2i + 1`` are turned by
            ``position * base ** (-2i / size)``.
        base: of the frequencies.

    Returns:
        The same shape.

    Example:
        >>> rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([[1.0000, 0.0000],
                [0.5403, 0.8415]])
    """
    length, size = vectors.shape[-2:]
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    places = torch.arange(0, size, 2, device=vectors.device, dtype=dtype)
    angles = torch.arange(length, device=vectors.device, dtype=dtype)[:, None] * base ** (-places / size)
    cosine, sine = angles.cos(), angles.sin()  # (length, size / 2)
    even, odd = vectors[..., ::2], vectors[..., 1::2]
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2).to(vectors.dtype)


def only_spans(scores: Tensor, units: Tensor) -> Tensor:
    """Scores of spans, and -inf where there is none: the last unit is before the first, or one of them is no unit.

    Args:
        scores: shape ``(batch, ..., length, length)``.
        units: which positions an entity may begin or end at, shape ``(batch, length)``, boolean.

    Returns:
        The same shape. Exact: nothing is subtracted from a score that counts.

    Example:
        >>> only_spans(torch.zeros(1, 3, 3), torch.tensor([[True, True, False]]))[0]
        tensor([[0., 0., -inf],
                [-inf, 0., -inf],
                [-inf, -inf, -inf]])
    """
    allowed = (units[:, :, None] & units[:, None, :]).triu()  # (batch, length, length)
    allowed = allowed.view(len(allowed), *[1] * (scores.dim() - 3), *allowed.shape[1:])
    return torch.where(allowed, scores, -torch.inf)


class GlobalPointer(nn.Module):
    """Scores ``q(i, type) · k(j, type) / sqrt(size)`` for the span from unit ``i`` to unit ``j``, both rotated.

    Source: kexue.fm/archives/8373; arXiv 2208.03054. Without rotation F1 falls by 30 points there: nothing else tells
    a span's two ends how far they are apart.

    Args:
        hidden_size: numbers per state.
        types: how many types there are.
        size: numbers per query and key.

    Note:
        ``2 * hidden_size * size`` weights and a matrix of scores per type: from about a dozen types on take
        ``EfficientGlobalPointer``.
    """

    def __init__(self, hidden_size: int, types: int, size: int = 64) -> None:
        super().__init__()
        _refuse_odd(size)
        self.types, self.size = types, size
        self.queries_and_keys = nn.Linear(hidden_size, types * 2 * size)

    def forward(self, states: Tensor, units: Tensor) -> SpanScores:
        """Score all spans.

        Args:
            states: shape ``(batch, length, hidden)``.
            units: which positions count, shape ``(batch, length)``, boolean.

        Returns:
            Scores with all types in ``pairs``.
        """
        both = self.queries_and_keys(states).unflatten(-1, (self.types, 2, self.size))
        queries, keys = rotate(both.permute(3, 0, 2, 1, 4)).unbind()  # each (batch, types, length, size)
        return SpanScores(only_spans(queries @ keys.transpose(-1, -2) * self.size**-0.5, units))


class EfficientGlobalPointer(nn.Module):
    """Scores ``q(i) · k(j) / sqrt(size)``, shared by all types, plus what each type gives for the first and last unit.

    Source: kexue.fm/archives/8877: finding where entities are is one task for all types, and classifying them needs
    little: ``w(type) · [q(i); k(i); q(j); k(j)]``, which is a number for ``i`` plus a number for ``j``.

    Args:
        hidden_size: numbers per state.
        types: how many types there are.
        size: numbers per query and key.

    Note:
        ``2 * hidden_size * size`` weights for all types together and ``4 * size`` for each; one matrix of scores.
    """

    def __init__(self, hidden_size: int, types: int, size: int = 64) -> None:
        super().__init__()
        _refuse_odd(size)
        self.types, self.size = types, size
        self.queries_and_keys = nn.Linear(hidden_size, 2 * size)
        self.sides = nn.Linear(2 * size, 2 * types)

    def forward(self, states: Tensor, units: Tensor) -> SpanScores:
        """Score all spans.

        Args:
            states: shape ``(batch, length, hidden)``.
            units: which positions count, shape ``(batch, length)``, boolean.

        Returns:
            Scores in parts: nothing of the size of all spans and all types is made.
        """
        both = self.queries_and_keys(states)  # (batch, length, 2 * size)
        starts, ends = self.sides(both).mT.chunk(2, dim=1)  # each (batch, types, length)
        queries, keys = rotate(both.unflatten(-1, (2, self.size)).permute(2, 0, 1, 3)).unbind()
        pairs = only_spans(queries @ keys.mT * self.size**-0.5, units)
        return SpanScores(pairs[:, None], starts, ends)


def _refuse_odd(size: int) -> None:
    if size < 2 or size % 2:
        raise ValueError(f"head_size={size} must be even: rotation turns pairs of numbers; 64 is usual")
