"""Which numbers are the k largest, made smooth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.smooth.largest import masked

#: Halvings of an interval: beyond the bits of fp64's mantissa.
_HALVINGS = 64


def soft_topk(
    scores: Tensor,
    k: int,
    sharpness: float = 1.0,
    *,
    method: Literal["exp", "sigmoid"] = "exp",
    dim: int = -1,
    mask: Tensor | None = None,
    straight_through: bool = False,
) -> Tensor:
    """``f(scores - threshold)``, with the threshold at which they sum to ``k``: 1 for the k largest in the limit.

    Source: kexue.fm/archives/10373 (ThreTopK). The recursion of kexue.fm/archives/6620 gives numbers above 1 and does
    not keep the order.

    Args:
        scores: any shape.
        k: how many are largest, at most as many as there are.
        sharpness: above 0; towards infinity, 1 and 0.
        method: ``"exp"`` is ``f = min(1, exp(x))``, in closed form; the softmax where ``k`` is 1. ``"sigmoid"`` has a
            gradient everywhere, and takes 64 halvings of an interval.
        dim: along which they sum to ``k``.
        mask: ``False`` where a score is left out, of the scores' shape.
        straight_through: give 1 and 0 at once, with the gradient of the soft ones.

    Returns:
        Numbers in [0, 1] in fp32 or better, in the order of the scores, of their shape; 0 where a score is left out,
        with a gradient of 0.

    Raises:
        ValueError: fewer than ``k`` scores are there.

    Note:
        Nothing changes where all scores are moved alike. A second derivative is right for ``"exp"`` only.

    Example:
        >>> soft_topk(torch.tensor([3.0, 2.0, 1.0, 4.0]), 2)
        tensor([0.6652, 0.2447, 0.0900, 1.0000])
        >>> soft_topk(torch.tensor([3.0, 2.0, 1.0, 4.0]), 2, method="sigmoid")
        tensor([0.6225, 0.3775, 0.1824, 0.8176])
    """
    if method not in ("exp", "sigmoid"):
        raise ValueError(f'method={method!r} must be "exp" or "sigmoid"')
    checked_number("k", k, least=1, whole=True)
    scores = masked(scores, sharpness, mask).movedim(dim, -1)
    fewest = int((~torch.isneginf(scores)).sum(dim=-1).min()) if scores.numel() else k
    if not 1 <= k <= fewest:
        raise ValueError(f"k={k} must be between 1 and the number of scores, which is {fewest} where it is smallest")
    soft = _exp_topk(scores, k) if method == "exp" else _sigmoid_topk(scores, k)
    if straight_through:
        places = scores.topk(k, dim=-1).indices
        soft = torch.zeros_like(soft).scatter(-1, places, 1.0) + (soft - soft.detach())
    return soft.movedim(-1, dim)


def _exp_topk(scores: Tensor, k: int) -> Tensor:
    """The m largest are 1, the others share the rest of k by their softmax; m is the fewest so that none exceeds 1."""
    with torch.no_grad():
        falling, places = scores.sort(dim=-1, descending=True, stable=True)
        tails = falling.flip(-1).logcumsumexp(dim=-1).flip(-1)[..., :k]
        left = torch.arange(k, 0, -1, dtype=scores.dtype, device=scores.device)
        fits = falling[..., :k] <= tails - left.log()
        fits[..., -1] = True  # whatever rounding says
        whole = fits.int().argmax(dim=-1, keepdim=True)  # m, (..., 1)
        ranks = places.argsort(dim=-1)
        shared = ranks >= whole
    shares = torch.where(shared, scores, -torch.inf).softmax(dim=-1)
    return torch.where(shared, ((k - whole) * shares).clamp(max=1), 1.0)


def _sigmoid_topk(scores: Tensor, k: int) -> Tensor:
    there = ~torch.isneginf(scores)
    with torch.no_grad():
        number = there.sum(dim=-1, keepdim=True).to(scores.dtype)
        all_of_them = number == k  # the threshold would be -inf
        offset = torch.where(all_of_them, 0.0, torch.logit(k / number))
        low = torch.where(there, scores, torch.inf).amin(dim=-1, keepdim=True) - offset
        high = scores.amax(dim=-1, keepdim=True) - offset
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = (scores - middle).sigmoid().sum(dim=-1, keepdim=True) > k
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        threshold = torch.where(all_of_them, 0.0, (low + high) / 2)
        values = (scores - threshold).sigmoid()
        slopes = values * (1 - values)
        weights = slopes / slopes.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    # The threshold's derivative by the implicit function theorem; the number itself is that of the halvings.
    moved = torch.where(there, scores, 0.0)
    threshold = threshold + (weights * (moved - moved.detach())).sum(dim=-1, keepdim=True)
    return torch.where(all_of_them, there.to(scores.dtype), (scores - threshold).sigmoid())
