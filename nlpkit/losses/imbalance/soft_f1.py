"""One minus F1, with probabilities in place of decisions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.losses.batch_loss import BatchLoss
from nlpkit.losses.imbalance.overlap import OverlapLoss, mean_of_classes
from nlpkit.losses.smooth.counts import smooth_f1


class SoftF1Loss(OverlapLoss, BatchLoss):
    """One minus the F1 of a batch, in which probabilities stand for decisions (``smooth_f1``).

    Source: kexue.fm/archives/7708.

    Args:
        average: over classes that occur in the batch (``"macro"``), or one F1 over all items and classes
            (``"micro"``).
        leave_out: a class whose items are no hits, such as "O" in tagging; ``None`` means that there is none.
        multi_label: labels are 0 or 1 for each logit, in place of class indices.

    Raises:
        ValueError: ``leave_out`` is no class, or labels are of the other kind.

    Note:
        F1 is no mean over items: that of small batches is too small on average, so that a step must be one batch (see
        ``BatchLoss``). The post advises cross-entropy first, and this for fine-tuning at the end. ``F1WeightedLoss``
        has the same direction and is a sum over items; ``DiceLoss`` has smoothing, and can weigh items.

    Example:
        >>> SoftF1Loss()(torch.tensor([[9.0, -9.0], [-9.0, 9.0], [0.0, 0.0]]), torch.tensor([0, 1, 1])).item()
        0.171...
    """

    def __init__(
        self,
        average: Literal["macro", "micro"] = "macro",
        *,
        leave_out: int | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__(multi_label)
        if average not in ("macro", "micro"):
            raise ValueError(f"average={average!r}: give 'macro' or 'micro'")
        self.over: Literal["macro", "micro"] = average
        if leave_out is not None:
            checked_number("leave_out", leave_out, least=0, whole=True)
        self.leave_out = leave_out

    def value(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A fraction, shape ``()``; 0 where no class occurs."""
        probabilities, targets = self.probabilities_and_targets(logits, labels)
        if self.leave_out is not None:
            if not 0 <= self.leave_out < logits.shape[-1]:
                raise ValueError(f"leave_out is {self.leave_out}, which is none of {logits.shape[-1]} classes")
            kept = torch.arange(logits.shape[-1], device=logits.device) != self.leave_out
            probabilities, targets = probabilities[:, kept], targets[:, kept]
        if self.over == "micro":
            probabilities, targets = probabilities.reshape(-1, 1), targets.reshape(-1, 1)
        return mean_of_classes(1 - smooth_f1(probabilities, targets, dim=0), targets.sum(0) > 0)
