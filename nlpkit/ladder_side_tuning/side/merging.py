"""The ladder's arithmetic on plain tensors: which layers are kept, and how a tap joins the side state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def choose_layers(layers: float | Sequence[int] | None, depth: int) -> list[int]:
    """Find the layers that keep a side block.

    A number is spread evenly, the last layer always among them: layer ``i`` is kept where
    ``(i + 1) * number // depth`` grows. That is the paper's choice (9 of 12: all but 0, 4, 8; 12 of 24: every second)
    and the blog's (4 of 12: 2, 5, 8, 11).

    Source: Sung, Cho and Bansal 2022, section 3.4; kexue.fm/archives/9138.

    Args:
        layers: ``None`` for all, how many, which share if below 1, or which; from 0, or from the end if negative.
        depth: layers of the backbone.

    Returns:
        Indices in ascending order.

    Raises:
        ValueError: out of range, repeated, or none at all.

    Example:
        >>> choose_layers(9, 12), choose_layers([-1, 2], 12)
        ([1, 2, 3, 5, 6, 7, 9, 10, 11], [2, 11])
    """
    if layers is None:
        return list(range(depth))
    if isinstance(layers, float):
        if not 0 < layers < 1:
            raise ValueError(f"layers={layers} is no share; use a number between 0 and 1, or a whole one")
        layers = max(1, round(layers * depth))
    if isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise ValueError(f"layers={layers} of a backbone with {depth}; use 1 to {depth}, or None for all")
        return [index for index in range(depth) if (index + 1) * layers // depth > index * layers // depth]
    outside = [index for index in layers if not -depth <= index < depth]
    if outside:
        raise ValueError(f"layers holds {outside[0]}; the backbone has {depth}, so use 0 to {depth - 1}")
    chosen = sorted(index % depth for index in layers)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"layers={list(layers)} must name at least one layer, and none twice")
    return chosen


def count_lower(whole_from: int | None, depth: int) -> int:
    """How many layers stay frozen.

    Args:
        whole_from: the first layer that is trained whole; ``None``: no layer is.
        depth: layers of the backbone.

    Returns:
        From 1 to ``depth``.

    Raises:
        ValueError: none or all of them would be.

    Example:
        >>> count_lower(8, 12), count_lower(None, 12)
        (8, 12)
    """
    if whole_from is not None and not 1 <= whole_from < depth:
        raise ValueError(f"training whole from layer {whole_from} of {depth}: use 1 to {depth - 1}")
    return depth if whole_from is None else whole_from


def gated_sum(side: Tensor, tap: Tensor, alpha: Tensor, temperature: float) -> Tensor:
    """Mix a projected tap into the side state: ``mu * side + (1 - mu) * tap`` with ``mu = sigmoid(alpha / T)``.

    Source: Sung, Cho and Bansal 2022, equation 1.

    Args:
        side: state of the side network, shape ``(batch, length, width)``.
        tap: the backbone's state projected down, the same shape.
        alpha: the gate, shape ``(1,)``; 0 mixes halves, infinity leaves the side state, minus infinity the tap.
        temperature: above 0.

    Returns:
        The mixture, shape ``(batch, length, width)``.

    Example:
        >>> gated_sum(torch.ones(1), torch.zeros(1), torch.zeros(1), 0.1)
        tensor([0.5000])
    """
    share = torch.sigmoid(alpha / temperature)
    return share * side + (1 - share) * tap
