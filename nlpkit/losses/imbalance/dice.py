"""Dice loss: one minus the overlap of probabilities and targets, class by class."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.batch_loss import BatchLoss
from nlpkit.losses.imbalance.overlap import OverlapLoss, mean_of_classes

Absent = Literal["skip", "count"]


def dice(probabilities: Tensor, targets: Tensor, alpha: float, smoothing: float, absent: Absent) -> Tensor:
    """One minus ``(2 sum(w y p) + s) / (sum(w (y + p)) + s)``, averaged over classes.

    Args:
        probabilities: 0 where an item is not known, shape ``(..., items, classes)``.
        targets: 0 or 1, 0 where an item is not known, the same shape.
        alpha: ``w`` is ``|y - p|^alpha``, without gradient.
        smoothing: ``s``, above 0.
        absent: whether classes without targets are left out of the average, or counted for the probability that they
            have.

    Returns:
        Fractions, shape ``(...)``; 0 where all classes are left out.

    Example:
        >>> import torch
        >>> truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> dice(truth, truth, 0.0, 1.0, "skip"), dice(1 - truth, truth, 0.0, 1.0, "skip")
        (tensor(0.), tensor(0.6667))
    """
    weights = (targets - probabilities.detach()).abs() ** alpha
    shared = (weights * probabilities * targets).sum(-2)
    total = (weights * (probabilities + targets)).sum(-2)
    losses = 1 - (2 * shared + smoothing) / (total + smoothing)
    return losses.mean(-1) if absent == "count" else mean_of_classes(losses, targets.sum(-2) > 0)


class _OfDice(OverlapLoss):
    """A loss with the settings of ``dice``."""

    def __init__(
        self, alpha: float = 0.0, *, smoothing: float = 1.0, absent: Absent = "skip", multi_label: bool = False
    ) -> None:
        super().__init__(multi_label)
        if absent not in ("skip", "count"):
            raise ValueError(f"absent={absent!r}: give 'skip' or 'count'")
        self.alpha = checked_number("alpha", alpha, least=0, hint="0 weighs all items alike")
        self.smoothing = checked_number("smoothing", smoothing, above=0, hint="an empty class divides by it")
        self.absent: Absent = absent


class DiceLoss(_OfDice, BatchLoss):
    """One minus the Dice coefficient of each class over a batch, averaged over classes.

    Source: arXiv 1911.02855 for its use in NLP. One sum over the batch stands above the line and one below, for each
    class; their code divides numerators of single items by the sum over a batch, whereby perfect predictions do not
    have loss 0.

    Args:
        alpha: weighs items by ``(1 - probability of what is right)^alpha``, so that easy ones count less; 0 is the
            plain coefficient. The paper's factor changes the probability alone, whereby 1/2 is better than 1.
        smoothing: added above and below the line, above 0.
        absent: whether classes that do not occur in the batch are left out (``"skip"``), or counted for the
            probability that they have (``"count"``).
        multi_label: labels are 0 or 1 for each logit, in place of class indices.

    Raises:
        ValueError: an argument is out of its range, or labels are of the other kind.

    Note:
        A function of a whole batch, see ``BatchLoss``: begin with cross-entropy, and prefer large batches.
        ``RowDiceLoss`` is over each row; without ``alpha``, as ``smoothing`` goes to 0, this is ``SoftF1Loss``.

    Example:
        >>> import torch
        >>> DiceLoss()(torch.tensor([[9.0, -9.0], [-9.0, 9.0], [0.0, 0.0]]), torch.tensor([0, 1, 1])).item()
        0.126...
    """

    def value(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A fraction, shape ``()``."""
        return dice(*self.probabilities_and_targets(logits, labels), self.alpha, self.smoothing, self.absent)


class RowDiceLoss(_OfDice):
    """One minus the Dice coefficient of each row, averaged over rows, so that rows do not depend on each other.

    Args:
        alpha: see ``DiceLoss``.
        smoothing: see ``DiceLoss``.
        absent: see ``DiceLoss``.
        multi_label: labels are 0 or 1 for each class of a row, and make one coefficient; otherwise they are class
            indices of a row's tokens, and classes have one each.

    Raises:
        ValueError: an argument is out of its range, or labels are of the other kind.

    Note:
        An item is a row with at least one label, which ``Trainer(compute_loss_func=...)`` does not count for tokens,
        and is refused: use ``TechniqueTrainer``.

    Example:
        >>> import torch
        >>> RowDiceLoss()(torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]])).item()
        0.333...
    """

    def valid(self, labels: Tensor) -> Tensor:
        """Rows with at least one label."""
        if labels.dim() != 2:
            raise ValueError(
                f"labels are of shape {tuple(labels.shape)}, and RowDiceLoss needs several labels for a row"
            )
        return (labels != -100).any(-1)

    def labels_per_item(self, labels: Tensor) -> int:
        """The classes of a row; with class indices of its tokens not known, and a ``ValueError``."""
        if not self.multi_label:
            raise ValueError(
                "RowDiceLoss averages over rows, and num_items_in_batch counts tokens: give the loss to "
                "TechniqueTrainer(loss=...), which counts rows, or call average(outputs, labels, items=rows)"
            )
        return super().labels_per_item(labels)

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Fractions, shape ``(rows,)``."""
        probabilities, targets = self.probabilities_and_targets(logits, labels)
        if self.multi_label:
            probabilities, targets = probabilities.unsqueeze(-1), targets.unsqueeze(-1)
        return dice(probabilities, targets, self.alpha, self.smoothing, self.absent)
