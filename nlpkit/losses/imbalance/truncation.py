"""Cross-entropy of what is not right yet, cut off at a margin or softly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number
from nlpkit.losses.imbalance.margin_loss import MarginLoss
from nlpkit.losses.imbalance.margins import margins, top_margins, weighed


class HardTruncationLoss(MarginLoss):
    """Cross-entropy of items that are wrong, or right by no more than a margin; others count as 0.

    Source: kexue.fm/archives/4733, where the threshold is a probability; logits have one meaning for any number of
    classes.

    Args:
        margin: logits by which the label must be above the largest other one (0 of the other answer in a cell) before
            an item is left alone; 0 trains on mistakes and ties.
        multi_label: labels are 0 or 1 for each logit, in place of class indices.

    Raises:
        ValueError: ``margin`` is not finite, or labels are of the other kind.

    Note:
        Nothing tells the model to stay beyond the margin, so that items come and go; ``SoftTruncationLoss`` and
        ``FocalLoss`` soften it. The sum is divided by all items, not by those that are left.

    Example:
        >>> HardTruncationLoss()(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.tensor([1, 1])).item()
        1.063...
    """

    def __init__(self, margin: float = 0.0, *, multi_label: bool = False) -> None:
        super().__init__(multi_label)
        self.margin = checked_number("margin", margin)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Nats, shape ``(items,)`` or ``(cells,)``."""
        margin = margins(logits, labels, self.multi_label)
        ahead = margin if self.multi_label else top_margins(logits, labels)
        return torch.where(ahead <= self.margin, F.softplus(-margin), 0.0)


class SoftTruncationLoss(MarginLoss):
    """Cross-entropy times ``sigmoid(-sharpness * margin)``, which has a gradient too.

    Source: kexue.fm/archives/4733. ``margin`` is the logit with the sign of the label; over classes the post leaves
    its form open, and it is ``logit - logsumexp(other logits)`` here, so that two classes are the binary case.

    Args:
        sharpness: the post's K, above 0; 1 is ``FocalLoss(1.0)``, and the larger, the nearer to ``HardTruncationLoss``
            at a probability of one half.
        multi_label: labels are 0 or 1 for each logit, in place of class indices.

    Raises:
        ValueError: ``sharpness`` is not above 0, or labels are of the other kind.

    Example:
        >>> SoftTruncationLoss()(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.tensor([1, 1])).item()
        0.944...
    """

    def __init__(self, sharpness: float = 1.0, *, multi_label: bool = False) -> None:
        super().__init__(multi_label)
        self.sharpness = checked_number("sharpness", sharpness, above=0, hint="1 is FocalLoss(1.0)")

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted nats, shape ``(items,)`` or ``(cells,)``."""
        margin = margins(logits, labels, self.multi_label)
        return weighed(margin, torch.sigmoid(-self.sharpness * margin))
