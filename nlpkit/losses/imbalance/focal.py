"""Focal loss: items that are right already count for less."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.losses.imbalance.margin_loss import MarginLoss
from nlpkit.losses.imbalance.margins import margins, times, weighed
from nlpkit.losses.labels import checked_weights


def focal(margin: Tensor, gamma: float) -> Tensor:
    """``-(1 - p)^gamma log p`` of labels with probability ``p = sigmoid(margin)``, of margins and not of logits.

    Source: arXiv 1708.02002, equation 4.

    Both factors are computed from the logarithms of ``p`` and ``1 - p``, so that the value and its gradient are right
    where ``p`` rounds to 1.

    Args:
        margin: the label's logit less the logsumexp of the others; of a cell its logit, with the sign of the label.
            Any shape.
        gamma: 0 is cross-entropy.

    Returns:
        Nats, of the same shape.

    Raises:
        ValueError: ``gamma`` is below 0.

    Example:
        >>> focal(torch.tensor([18.0], requires_grad=True), 0.5)
        tensor([1.8795e-12], grad_fn=<MulBackward0>)
    """
    checked_number("gamma", gamma, least=0, hint="0 is cross-entropy")
    if gamma == 0:
        return F.softplus(-margin)
    # Further below, the weight is 1 whatever the margin; its slope of 0, times the loss and gamma, may be NaN.
    near = margin.clamp(min=math.log(torch.finfo(margin.dtype).tiny))
    return weighed(margin, (gamma * F.logsigmoid(-near)).exp())


class FocalLoss(MarginLoss):
    """Cross-entropy times ``(1 - p)^gamma``, with ``p`` the probability of the label.

    Source: arXiv 1708.02002, equations 4 and 5; kexue.fm/archives/4733 comes to it from a truncated loss.

    Args:
        gamma: at least 0; 0 is cross-entropy.
        alpha: weight of each class, shape ``(classes,)``; with ``multi_label`` a number between 0 and 1, the weight of
            labels that are 1, where those that are 0 have ``1 - alpha``.
        multi_label: labels are 0 or 1 for each logit, and an item is a cell, in place of class indices.

    Raises:
        ValueError: ``gamma`` or ``alpha`` cannot be used, or labels are of the other kind.

    Note:
        Weights change the size of the loss: the sum is divided by the number of items, whatever their classes, so that
        a step is the same however it is cut. Probabilities of a model that was trained so are less sure than they
        should be. ``SoftTruncationLoss(1.0)`` is ``FocalLoss(1.0)``; ``LogitAdjustedLoss`` uses the frequencies of
        classes instead.

    Example:
        >>> FocalLoss(gamma=2.0)(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.tensor([1, 1])).item()
        0.825...
    """

    alpha: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: float | Sequence[float] | Tensor | None = None, *, multi_label: bool = False
    ) -> None:
        super().__init__(multi_label)
        self.gamma = checked_number("gamma", gamma, least=0, hint="0 is cross-entropy")
        self.register_buffer("alpha", None if alpha is None else _checked(alpha, multi_label))

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted nats, shape ``(items,)`` or ``(cells,)``."""
        losses = focal(margins(logits, labels, self.multi_label), self.gamma)
        if self.alpha is None:
            return losses
        alpha = self.alpha.to(losses.dtype)
        if self.multi_label:
            return times(losses, torch.where(labels == 1, alpha, 1 - alpha))
        if len(alpha) != logits.shape[-1]:
            raise ValueError(f"alpha has {len(alpha)} weights, but logits are for {logits.shape[-1]} classes")
        return times(losses, alpha[labels.long()])


def _checked(alpha: float | Sequence[float] | Tensor, multi_label: bool) -> Tensor:
    if not multi_label:
        return checked_weights("alpha", torch.as_tensor(alpha))
    share = torch.as_tensor(alpha)
    if share.dim() != 0:
        raise ValueError("with multi_label=True alpha is one number, the weight of labels that are 1")
    checked_number("alpha", share.item(), least=0, most=1)
    return share.float() if not share.is_floating_point() else share
