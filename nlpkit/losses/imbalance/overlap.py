"""What losses over the overlap of probabilities and targets share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.losses.divergences import Divergence, of_labels
from nlpkit.losses.labels import checked_cells, checked_indices, refuse_other_rows, signed
from nlpkit.losses.loss import Loss


def mean_of_classes(losses: Tensor, counted: Tensor) -> Tensor:
    """The mean over the classes that count, 0 where none does.

    Args:
        losses: shape ``(..., classes)``.
        counted: which classes count, of the same shape.

    Returns:
        Shape ``(...)``.

    Example:
        >>> mean_of_classes(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    return torch.where(counted, losses, 0.0).sum(-1) / counted.sum(-1).clamp(min=1)


class OverlapLoss(Loss):
    """A loss of class indices, or of rows of a label matrix as a whole, in which cells may be unknown (-100).

    Args:
        multi_label: labels are 0 or 1 for each logit, in place of class indices.
    """

    def __init__(self, multi_label: bool) -> None:
        super().__init__()
        self.multi_label = multi_label

    def align_labels(self, labels: Tensor) -> Tensor:
        """As they are; of several labels numbers, a column where each row has one binary label."""
        if not self.multi_label:
            return labels
        labels = labels.long() if labels.dtype == torch.bool else labels
        return labels.unsqueeze(-1) if labels.dim() == 1 else labels

    @property
    def divergence(self) -> Divergence:
        """Of the classes of an item, or of each cell."""
        return of_labels(self.multi_label)

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As they are, if there is one for each label of a matrix."""
        if self.multi_label and logits.shape != labels.shape:
            raise ValueError(
                f"logits are of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)}: with "
                "multi_label=True there is a 0 or 1 for each logit, and no class index"
            )
        return logits

    def valid(self, labels: Tensor) -> Tensor:
        """Items with a label, or rows with one."""
        return (labels != -100).any(-1) if self.multi_label else labels != -100

    def labels_per_item(self, labels: Tensor) -> int:
        """1, or the classes of a row."""
        return labels.shape[-1] if self.multi_label and labels.dim() > 1 else 1

    def probabilities_and_targets(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What a loss compares.

        Args:
            logits: shape ``(..., items, classes)``.
            labels: shape ``(..., items)``, or ``(..., items, classes)``; -100 where they are not known.

        Returns:
            Both of the shape of the logits, both 0 where a label is not known.

        Raises:
            ValueError: labels are of the other kind.
        """
        known = labels != -100
        if self.multi_label:
            checked_cells(labels[known])
            probabilities, targets = logits.sigmoid(), labels
        else:
            refuse_other_rows(logits, labels)
            checked_indices(labels[known], logits.shape[-1])
            probabilities, targets = logits.softmax(-1), F.one_hot(labels.clamp(min=0), logits.shape[-1])
            known = known.unsqueeze(-1)
        return torch.where(known, probabilities, 0.0), torch.where(known, targets, 0).to(logits.dtype)

    def _chosen(self, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        labels = self.align_labels(signed(labels))
        if mask is not None:
            labels = labels.masked_fill(~self.align_labels(mask).bool(), -100)
        return labels, self.valid(labels)
