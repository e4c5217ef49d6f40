"""The logarithm of one plus a sum of exponentials, which all losses over any number of classes are made of."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def keep_finite_(scores: Tensor) -> Tensor:
    """Scores beyond the range of their dtype, such as three times its largest number, made the largest, in place.

    They keep the gradient that they had.

    Args:
        scores: that nothing else holds, any shape.

    Returns:
        The same tensor.

    Example:
        >>> keep_finite_(torch.tensor([3e38, -1.0]) * 3)
        tensor([ 3.4028e+38, -3.0000e+00])
    """
    limits = torch.finfo(scores.dtype)
    return scores.clamp_(limits.min, limits.max)


def log_one_plus_sum(exponents: Tensor) -> Tensor:
    """``log(1 + sum(exp(exponents)))`` over the last dimension, right for sums near 0 and far beyond ``exp``'s range.

    Args:
        exponents: shape ``(..., terms)``, any number of terms; -inf leaves a term out, with a gradient of 0.

    Returns:
        Shape ``(...)``; 0 where no term is left.

    Note:
        ``logsumexp`` of the terms and a 0 is the same number, but rounds sums below the precision to 0; without the 0
        its gradient is NaN where all terms are -inf.

    Example:
        >>> log_one_plus_sum(torch.tensor([[-40.0, -torch.inf], [-torch.inf, -torch.inf], [1000.0, 1000.0]]))
        tensor([4.2484e-18, 0.0000e+00, 1.0007e+03])
    """
    if not exponents.shape[-1]:
        return exponents.sum(dim=-1)
    peak = exponents.detach().amax(dim=-1).clamp(min=0)
    total = (exponents - peak.unsqueeze(-1)).exp_().sum(dim=-1)
    return peak + torch.log1p(torch.expm1(-peak) + total)
