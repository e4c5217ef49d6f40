"""A loss that couples the items of a batch: over all processes at once, and never over parts of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from nlpkit.losses.gathering import gather_rows, process_count
from nlpkit.losses.loss import Loss


class BatchLoss(Loss):
    """A loss of a batch as a whole, such as one minus its F1, or a contrast of its rows with each other.

    The batch is that of all processes: items are gathered, with their gradients. A subclass gives ``value``; one whose
    loss is a sum over items gives ``share`` instead, so that each process computes its own part only.

    Note:
        The mean over micro-batches of such a loss is another loss. ``TechniqueTrainer`` refuses accumulation beside
        it, unless the technique ``GradCache`` makes one batch of a step. Losses of an item alone are cheaper and
        need no such care: prefer one where there is a choice.

    Example:
        >>> import torch
        >>> class OneMinusMeanProduct(BatchLoss):
        ...     def value(self, logits, labels):
        ...         return 1 - logits.mean() * labels.float().mean()
        >>> OneMinusMeanProduct()(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1, 0, -100])).item()
        0.25
    """

    scope: ClassVar[Literal["row", "micro-batch"]] = "micro-batch"

    def value(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            logits: of the items that have a label, of all processes, in fp32 or better, shape ``(items, ...)``.
            labels: shape ``(items, ...)``, none of them -100.

        Returns:
            Shape ``()``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define value(logits, labels)")

    def share(self, logits: Tensor, labels: Tensor, own: slice) -> Tensor:
        """This process's part of the batch's loss; the parts of all processes add up to it.

        Args:
            logits: as for ``value``.
            labels: as for ``value``.
            own: the items of this process.

        Returns:
            Shape ``()``.
        """
        return self.value(logits, labels) / process_count()

    def joint(self, logits: Tensor, labels: Tensor) -> Tensor:
        """This process's part of the loss, given the items that it has itself; shape ``()``."""
        every, own = gather_rows(logits)
        if len(every) == 0:
            return logits.sum() * 0.0
        return self.share(every, gather_rows(labels)[0], own)

    def items_of_batch(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits and labels of the items of a batch of this process that count."""
        return self.items_in(self.logits_in(outputs, batch), self.labels_of(batch))

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ``Loss.terms``; the number of items is that of the batch."""
        if not self._has_labels(batch):
            return {"loss": self.logits_of(outputs).sum() * 0.0}
        return {"loss": self.joint(*self.items_of_batch(outputs, batch))}

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: logits, or what a model returned.
            labels: as ``labels_of`` returns them.
            items: of the step, if they are known: no more than those of the batch of all processes.
            mask: items to leave out, ``False`` there.

        Returns:
            Shape ``()``.

        Raises:
            ValueError: the step has more items, so this is a part of it.
        """
        logits, chosen = self.items_in(self.logits_of(outputs), labels, mask)
        if items is not None and items > len(gather_rows(chosen)[0]):
            raise ValueError(
                f"{type(self).__name__} couples the rows of a batch, and this batch has {len(chosen)} of the step's "
                f"{int(items)} items: set gradient_accumulation_steps=1, or train by nlpkit.TechniqueTrainer with the "
                "technique GradCache()"
            )
        return self.joint(logits, chosen)
