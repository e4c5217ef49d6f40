"""The largest of some numbers, and where it is, made smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.masked import masked_logsumexp, masked_softmax


def smooth_max(scores: Tensor, sharpness: float = 1.0, *, dim: int = -1, mask: Tensor | None = None) -> Tensor:
    """``log(sum(exp(sharpness * scores))) / sharpness``, which lies above the largest by at most ``log(n)/sharpness``.

    Source: kexue.fm/archives/6620 and 3290.

    Args:
        scores: any shape.
        sharpness: above 0; towards infinity, the largest itself.
        dim: along which the largest is taken.
        mask: ``False`` where a score is left out, of the scores' shape.

    Returns:
        In fp32 or better, the shape without ``dim``; -inf where all scores are left out, with a gradient of 0.

    Example:
        >>> smooth_max(torch.tensor([1.0, 2.0, 3.0]), 10.0).item()
        3.0000...
    """
    return masked_logsumexp(masked(scores, sharpness, mask), dim=dim) / sharpness


def soft_onehot(
    scores: Tensor,
    sharpness: float = 1.0,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    straight_through: bool = False,
) -> Tensor:
    """The softmax, which is 1 where the largest is and 0 elsewhere in the limit.

    Source: kexue.fm/archives/6620.

    Args:
        scores: any shape.
        sharpness: above 0; towards infinity, 1 and 0.
        dim: along which it sums to 1.
        mask: ``False`` where a score is left out, of the scores' shape.
        straight_through: give 1 and 0 at once, with the gradient of the softmax; of equal scores the first is largest.

    Returns:
        In fp32 or better, of the scores' shape; 0 where a score is left out, with a gradient of 0.

    Example:
        >>> soft_onehot(torch.tensor([1.0, 3.0, 2.0]), 10.0)
        tensor([2.0611e-09, 9.9995e-01, 4.5398e-05])
    """
    scores = masked(scores, sharpness, mask)
    soft = masked_softmax(scores, dim=dim)
    if not straight_through:
        return soft
    hard = torch.zeros_like(soft).scatter(dim, scores.argmax(dim=dim, keepdim=True), 1.0)
    return torch.where(torch.isneginf(scores), 0.0, hard) + (soft - soft.detach())


def soft_argmax(
    scores: Tensor,
    sharpness: float = 1.0,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    straight_through: bool = False,
) -> Tensor:
    """Where the largest is: the mean of the places, weighed by the softmax.

    Source: kexue.fm/archives/6620.

    Args:
        scores: any shape.
        sharpness: above 0; towards infinity, the place of the largest; between two equal ones, the middle.
        dim: along which places are counted from 0.
        mask: ``False`` where a score is left out, of the scores' shape.
        straight_through: give the place of the largest at once, with the gradient of the mean.

    Returns:
        In fp32 or better, the shape without ``dim``.

    Example:
        >>> soft_argmax(torch.tensor([1.0, 3.0, 2.0]), 10.0).item()
        1.0000...
    """
    weights = soft_onehot(scores, sharpness, dim=dim, mask=mask, straight_through=straight_through).movedim(dim, -1)
    return weights @ torch.arange(weights.shape[-1], dtype=weights.dtype, device=weights.device)


def masked(scores: Tensor, sharpness: float, mask: Tensor | None) -> Tensor:
    """Scores times their sharpness in fp32 or better, -inf where they are left out."""
    checked_number("sharpness", sharpness, above=0, hint="the larger, the closer to the largest")
    if mask is not None and mask.shape != scores.shape:
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not fit scores of shape {tuple(scores.shape)}")
    scores = at_least_fp32(scores)
    scores = scores if sharpness == 1 else scores * sharpness
    return scores if mask is None else torch.where(mask.bool(), scores, -torch.inf)
