"""Means, maxima, softmaxes and reversals that leave padding out; what is left out may hold anything, NaN included."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(states: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """The mean of what a mask keeps; 0, with a gradient of 0, where it keeps nothing.

    Source: the masks of kexue.fm/archives/6810, by selection in place of products.

    Args:
        states: any shape, as ``(batch, length, dim)``.
        mask: what counts: 1 or ``True``, and 0 or ``False`` elsewhere; of the states' leading dimensions, as
            ``(batch, length)``.
        dim: along which the mean is taken; one of the mask's.

    Returns:
        The states' shape without ``dim``, in their dtype; summed in fp32 or better.

    Raises:
        ValueError: the mask does not fit, or holds other numbers than 0 and 1.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [torch.nan]]]), torch.tensor([[1, 1, 0]]))
        tensor([[2.]])
    """
    dim, kept = _fitting(states, mask, dim)
    total = torch.where(kept, states, 0.0).sum(dim=dim, dtype=torch.promote_types(states.dtype, torch.float32))
    return (total / kept.sum(dim=dim).clamp(min=1)).to(states.dtype)


def masked_max(states: Tensor, mask: Tensor, dim: int = 1, *, empty: float = 0.0) -> Tensor:
    """The largest of what a mask keeps.

    Source: kexue.fm/archives/6810.

    Args:
        states: any shape, as ``(batch, length, dim)``.
        mask: as for ``masked_mean``.
        dim: along which the largest is taken; one of the mask's.
        empty: what stands where the mask keeps nothing, with a gradient of 0.

    Returns:
        The states' shape without ``dim``.

    Raises:
        ValueError: the mask does not fit, or holds other numbers than 0 and 1.

    Example:
        >>> masked_max(torch.tensor([[-3.0, -1.0, 5.0], [7.0, 8.0, 9.0]]), torch.tensor([[1, 1, 0], [0, 0, 0]]))
        tensor([-1.,  0.])
    """
    dim, kept = _fitting(states, mask, dim)
    largest = torch.where(kept, states, -torch.inf).amax(dim=dim)
    return torch.where(kept.any(dim=dim), largest, empty)


def masked_softmax(scores: Tensor, mask: Tensor | None = None, dim: int = -1) -> Tensor:
    """The softmax over what a mask keeps; 0 elsewhere, also where it keeps nothing.

    Args:
        scores: any shape; -inf is left out, too.
        mask: what counts, of the scores' shape or one that is broadcast to it; ``None`` where scores say it all.
        dim: along which it sums to 1.

    Returns:
        Of the scores' shape, with gradients of 0 where a score is left out.

    Raises:
        ValueError: the mask holds other numbers than 0 and 1.

    Example:
        >>> masked_softmax(torch.tensor([[0.0, 0.0, 9.0], [1.0, 2.0, 3.0]]), torch.tensor([[1, 1, 0], [0, 0, 0]]))
        tensor([[0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    scores, nothing = _with_holes(scores, mask, dim)
    return torch.where(nothing, 0.0, torch.where(nothing, 0.0, scores).softmax(dim=dim))


def masked_logsumexp(scores: Tensor, mask: Tensor | None = None, dim: int = -1) -> Tensor:
    """``log(sum(exp(scores)))`` over what a mask keeps; -inf, with a gradient of 0, where it keeps nothing.

    Args:
        scores: any shape; -inf is left out, too.
        mask: as for ``masked_softmax``.
        dim: along which it is summed.

    Returns:
        The scores' shape without ``dim``.

    Raises:
        ValueError: the mask holds other numbers than 0 and 1.

    Example:
        >>> masked_logsumexp(torch.zeros(2, 4), torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]))
        tensor([0., -inf])
    """
    scores, nothing = _with_holes(scores, mask, dim)
    return torch.where(nothing.squeeze(dim), -torch.inf, torch.where(nothing, 0.0, scores).logsumexp(dim=dim))


def reverse_padded(states: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """Turn round what a mask keeps, and leave the rest where it is: the second direction of a recurrent network.

    Source: kexue.fm/archives/6810.

    Args:
        states: any shape, as ``(batch, length, dim)``.
        mask: as for ``masked_mean``; what it keeps need not stand together, nor at the beginning.
        dim: along which it is turned; the mask's last.

    Returns:
        Of the states' shape; done twice, the states themselves.

    Raises:
        ValueError: the mask does not fit, or holds other numbers than 0 and 1, or ``dim`` is not its last.

    Example:
        >>> reverse_padded(torch.tensor([[1, 2, 3, 0], [0, 0, 4, 5]]), torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]]))
        tensor([[3, 2, 1, 0],
                [0, 0, 5, 4]])
    """
    dim, _ = _fitting(states, mask, dim)
    if dim != mask.dim() - 1:
        raise ValueError(f"dim={dim}: what is turned round is the mask's last dimension, {mask.dim() - 1}")
    kept = _as_bool(mask)
    order = kept.int().argsort(dim=dim, descending=True, stable=True)  # kept places first, in their order
    rank = kept.cumsum(dim=dim)  # from 1 at the first one
    mirrored = order.gather(dim, (rank[..., -1:] - rank).clamp(min=0))
    places = torch.where(kept, mirrored, torch.arange(mask.shape[-1], device=mask.device))
    return states.gather(dim, _along(places, states).expand_as(states))


def _fitting(states: Tensor, mask: Tensor, dim: int) -> tuple[int, Tensor]:
    if mask.shape != states.shape[: mask.dim()]:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not fit states of shape {tuple(states.shape)}: give one number "
            "for each of their leading dimensions, as (batch, length)"
        )
    counted = dim if dim >= 0 else dim + states.dim()
    if not 0 <= counted < mask.dim():
        raise ValueError(f"dim={dim} is none of the {mask.dim()} dimensions of the mask")
    return counted, _along(_as_bool(mask), states)


def _as_bool(mask: Tensor) -> Tensor:
    """What a mask keeps; an additive one, of 0 and large negative numbers, would be read the other way round."""
    kept = mask.bool()
    if mask.is_floating_point() and not torch.compiler.is_compiling() and bool((mask != kept).any()):
        other = mask[mask != kept].flatten()[0].item()
        raise ValueError(f"mask holds {other:g}; give 1 or True for what counts, and 0 or False elsewhere")
    return kept


def _along(mask: Tensor, states: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (states.dim() - mask.dim()))


def _with_holes(scores: Tensor, mask: Tensor | None, dim: int) -> tuple[Tensor, Tensor]:
    """Scores with -inf where they are left out, and where all along ``dim`` are."""
    if mask is not None:
        scores = torch.where(_as_bool(mask), scores, -torch.inf)
    return scores, torch.isneginf(scores).all(dim=dim, keepdim=True)
