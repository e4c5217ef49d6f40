"""Who sees whom in UniLM: every token sees the whole source, and of the target what is not behind it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def prefix_mask(
    segments: Tensor, padding: Tensor | None, dtype: torch.dtype, *, past: int | Tensor = 0, keys: int | None = None
) -> Tensor:
    """The additive mask of attention in which segment 0 is read both ways and segment 1 is written left to right.

    A token sees those with as many target tokens up to and including them as it has itself, or fewer: all of the
    source, and of the target itself and what stands before it. Padding sees itself alone, so that no row is empty.

    Source: UniLM (arXiv 1905.03197), section 2.3, and kexue.fm/archives/6933.

    Args:
        segments: 0 for the source, 1 for the target, of the tokens that are read now, shape ``(batch, length)``.
        padding: 0 for padding, of all tokens so far, shape ``(batch, past + length)``; ``None`` means no padding.
        dtype: of the model, since fused attention adds no other.
        past: tokens whose keys are in a cache; those that follow are of the target, and see them all.
        keys: of the cache, where it has room for more than there is; by default ``past + length``.

    Returns:
        0 where a query sees a key, and else the lowest number of the dtype, shape ``(batch, 1, length, keys)``.

    Note:
        Never of bools: eager attention would add 1 for ``True``.

    Example:
        >>> (prefix_mask(torch.tensor([[0, 0, 1, 1]]), None, torch.float32) == 0).int()[0, 0]
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0],
                [1, 1, 1, 0],
                [1, 1, 1, 1]], dtype=torch.int32)
    """
    batch, length = segments.shape
    width = int(past) + length if keys is None else keys
    key = torch.arange(width, device=segments.device)  # (keys,)
    query = torch.arange(length, device=segments.device) + past  # (length,)
    written = segments.cumsum(dim=1)  # (batch, length)
    # What is in a cache has been written before, and what has no key yet, in a cache of fixed size, is hidden below.
    before = written.new_zeros(batch, width).scatter(1, query.expand(batch, length), written)
    seen = before[:, None, :] <= written[:, :, None]  # (batch, length, keys)
    seen &= key < past + length
    if padding is not None:
        seen &= F.pad(padding != 0, (0, width - padding.shape[1]))[:, None, :]
    seen |= key == query[:, None]
    hidden = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, hidden)[:, None]
