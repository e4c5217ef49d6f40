"""What losses of classes or of cells share."""

from __future__ import annotations

from torch import Tensor

from nlpkit.losses.divergences import Divergence, of_labels
from nlpkit.losses.labels import one_per_label
from nlpkit.losses.loss import Loss


class MarginLoss(Loss):
    """A loss of class indices, or of cells that are 0 or 1.

    Args:
        multi_label: labels are 0 or 1 for each logit, and an item is a cell, in place of class indices.
    """

    def __init__(self, multi_label: bool) -> None:
        super().__init__()
        self.multi_label = multi_label

    @property
    def divergence(self) -> Divergence:
        """Of the classes of an item, or of each cell."""
        return of_labels(self.multi_label)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without the last dimension, where it is the only logit of a binary label."""
        return one_per_label(logits, labels, self.multi_label)
