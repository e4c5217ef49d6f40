"""The plain way to train a classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nlpkit.pet.objectives.objective import Batch, C, Objective
from nlpkit.pet.training_rows import TrainingRow


class LabelLoss(Objective[C]):
    """Cross-entropy over the labels; the plain way to train a classifier, prompted or not.

    Args:
        classifier: any classifier of this package.
    """

    def collate(self, rows: Sequence[TrainingRow]) -> Batch:
        """The classifier's inputs; see ``TextClassifier.collate``."""
        return self.classifier.collate_rows(rows)

    def items(self, batch: Batch) -> Tensor:
        """Number of labelled examples, ``(1,)``."""
        return (batch["labels"] != -100).sum()[None]

    def terms(self, batch: Batch, items: Tensor) -> Tensor:
        """The cross-entropy, ``(1,)``."""
        return self.classifier(**batch, num_items_in_batch=items[0]).loss[None]
