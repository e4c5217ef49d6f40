"""Rows of all processes, with their gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes in the order of their ranks, and where this one's stand.

    Gradients flow back to the process that a row came from, summed over what all processes made of it.

    Args:
        rows: shape ``(rows, ...)``; processes may have different numbers of rows, but no other difference in shape.

    Returns:
        Shape ``(rows of all processes, ...)``, and the slice of this process.

    Example:
        >>> gather_rows(torch.ones(2, 3))[1]
        slice(0, 2, None)
    """
    if process_count() == 1:
        return rows, slice(0, len(rows))
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(process_count())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(count) for count in counts]
    padded = F.pad(rows, (*[0, 0] * (rows.dim() - 1), 0, max(lengths) - len(rows)))
    blocks = _Gather.apply(padded)
    start = sum(lengths[: dist.get_rank()])
    return torch.cat([block[:length] for block, length in zip(blocks, lengths, strict=True)]), slice(
        start, start + len(rows)
    )


def sum_over_processes(count: Tensor) -> Tensor:
    """A number summed over all processes, without gradient, shape as given."""
    count = count.detach().clone()
    if process_count() > 1:
        dist.all_reduce(count)
    return count


class _Gather(torch.autograd.Function):
    """All blocks of equal shape, stacked; the gradient of a block is the sum of those that all processes have."""

    @staticmethod
    def forward(ctx: Any, block: Tensor) -> Tensor:
        blocks = [torch.empty_like(block) for _ in range(process_count())]
        dist.all_gather(blocks, block.contiguous())
        return torch.stack(blocks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]
