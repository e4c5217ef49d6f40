"""Cross-entropy over a large vocabulary without the logits of all tokens: a few tokens at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpkit.checked_number import checked_number
from nlpkit.losses.labels import whole


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    label_smoothing: float = 0.0,
    chunk: int = 256,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The sum of the cross-entropies of ``hidden @ weight.T + bias``, which is never held for more than a few tokens.

    Source: the gradient is computed beside the value, as in Liger Kernel (arXiv 2410.10989, section 3.2): three
    products of matrices, where computing the logits again for the gradient takes four.

    Args:
        hidden: shape ``(..., width)``.
        weight: shape ``(classes, width)``.
        labels: class indices, -100 for none, shape ``(...)``; tokens without one are left out before any product.
        bias: shape ``(classes,)``; -inf leaves a class out.
        scale: of the logits, after the bias.
        softcap: logits become ``softcap * tanh(logits / softcap)``, after the scale.
        label_smoothing: share of the target that is spread over all classes.
        chunk: tokens whose logits are held at a time.
        dtype: of the products; ``None`` means that of the weight. Sums, softmax and loss are in fp32 or better.

    Returns:
        Nats, shape ``()``.

    Raises:
        ValueError: shapes do not fit, a label is no class, or a number is out of its range.

    Note:
        Held at a time: two blocks of ``chunk * classes`` in fp32; from the value to the gradient: gradients of the
        hidden states and, where it is trained, of the weight, in fp32. Takes no second derivative.

    Example:
        >>> hidden, weight = torch.zeros(2, 3), torch.ones(4, 3)
        >>> chunked_cross_entropy(hidden, weight, torch.tensor([3, -100])).item()
        1.386...
    """
    if weight.shape[1:] != hidden.shape[-1:] or labels.shape != hidden.shape[:-1]:
        raise ValueError(
            f"hidden states of shape {tuple(hidden.shape)}, a weight of shape {tuple(weight.shape)} and labels of "
            f"shape {tuple(labels.shape)} do not fit: give (..., width), (classes, width) and (...)"
        )
    checked_number("scale", scale, above=0)
    if softcap is not None:
        checked_number("softcap", softcap, above=0)
    checked_number("label_smoothing", label_smoothing, least=0, most=1)
    checked_number("chunk", chunk, least=1, whole=True, hint="the tokens whose logits are held at a time")
    labels = whole(labels)
    chosen = labels != -100
    hidden, labels = hidden[chosen], labels[chosen]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(weight):
        wrong = labels[(labels < 0) | (labels >= len(weight))][0].item()
        raise ValueError(
            f"labels hold {wrong}, but the weight is for {len(weight)} classes: give 0 to {len(weight) - 1}, or -100"
        )
    settings = (scale, softcap, label_smoothing, chunk, weight.dtype if dtype is None else dtype)
    total: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, bias, labels, torch.is_grad_enabled(), settings)
    return total


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        training: bool,
        settings: tuple[float, float | None, float, int, torch.dtype],
    ) -> Tensor:
        scale, softcap, smoothing, chunk, dtype = settings
        wide = torch.promote_types(dtype, torch.float32)
        wanted = [training and needed for needed in ctx.needs_input_grad[:3]]
        by_hidden = torch.zeros_like(hidden, dtype=wide) if wanted[0] else None
        by_weight = torch.zeros_like(weight, dtype=wide) if wanted[1] else None
        by_bias = torch.zeros_like(bias, dtype=wide) if wanted[2] and bias is not None else None
        total = hidden.new_zeros((), dtype=wide)
        with torch.autocast(hidden.device.type, enabled=False):
            matrix = weight.to(dtype)
            columns = matrix.T
            for start in range(0, len(labels), chunk):
                part = slice(start, start + chunk)
                states, targets = hidden[part].to(dtype), labels[part].unsqueeze(1)
                logits = (states @ columns).to(wide)  # (chunk, classes)
                if bias is not None:
                    logits += bias
                if scale != 1:
                    logits *= scale
                if softcap is not None:
                    capped = logits.div_(softcap).tanh_()
                    logits = capped * softcap
                sums = logits.logsumexp(dim=1, keepdim=True)
                right = logits.gather(1, targets)
                losses = sums - (1 - smoothing) * right
                if smoothing:  # else 0 times the mean would be NaN where a class is left out by -inf
                    losses -= smoothing * logits.mean(dim=1, keepdim=True)
                total += losses.sum()
                if not any(wanted):
                    continue
                by_logits = logits.sub_(sums).exp_()
                by_logits.scatter_add_(1, targets, torch.full_like(right, smoothing - 1))
                by_logits -= smoothing / len(weight)
                if scale != 1:
                    by_logits *= scale
                if softcap is not None:
                    by_logits *= 1 - capped.square_()
                if by_bias is not None:
                    by_bias += by_logits.sum(dim=0)
                narrow = by_logits.to(dtype)
                if by_hidden is not None:
                    by_hidden[part] = narrow @ matrix
                if by_weight is not None:
                    by_weight += narrow.T @ states
        ctx.save_for_backward(by_hidden, by_weight, by_bias)
        ctx.dtypes = tuple(None if given is None else given.dtype for given in (hidden, weight, bias))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        found = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return *(None if one is None else (one * outer).to(dtype) for one, dtype in found), None, None, None
