"""What every loss is here: a sum over items in fp32, divided by the items of the whole optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nlpkit.losses.divergences import Divergence, softmax
from nlpkit.losses.labels import refuse_probabilities, signed
from nlpkit.losses.step_sums import StepSums


def at_least_fp32(scores: Tensor) -> Tensor:
    """Scores in fp32, or in fp64 where they are already."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


class Loss(nn.Module):
    """A loss that is a sum over items, each with a label of its own.

    A subclass gives ``values``, the losses of items that have a label, and whatever else differs from a softmax over
    classes: which labels count (``valid``), how logits and labels stand to each other (``align_logits``,
    ``align_labels``), where labels and logits come from (``columns``, ``labels_of``, ``logits_of``).

    Note:
        A ``Loss`` is what ``Trainer(compute_loss_func=...)`` takes, and right there or refused: the Trainer multiplies
        by the number of processes, and its count of labels becomes one of items by ``labels_per_item``.
        ``TechniqueTrainer(loss=...)`` counts the items itself, by ``items``.

    Example:
        >>> class AbsoluteError(Loss):
        ...     def values(self, logits, labels):
        ...         return (logits - labels).abs()
        >>> AbsoluteError()(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.0, 4.0, -100.0])).item()
        1.5
    """

    #: The columns of a batch that hold labels.
    columns: ClassVar[tuple[str, ...]] = ("labels",)
    #: What the loss of an item depends on: itself alone, or the others of its micro-batch too (``BatchLoss``).
    scope: ClassVar[Literal["row", "micro-batch"]] = "row"
    _looked = False  # at the logits of a first batch

    @property
    def divergence(self) -> Divergence | None:
        """Of two predictions of an item, by the distribution that this is the likelihood of; ``None``: not known."""
        return None

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each item that has a label.

        Args:
            logits: in fp32 or better, shape ``(items, ...)``.
            labels: shape ``(items, ...)``, none of them -100.

        Returns:
            Nats, or whatever the loss is measured in, shape ``(items,)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define values(logits, labels)")

    def item_weights(self, labels: Tensor) -> Tensor:
        """What each item counts in ``items``, by which the sum of ``values`` is divided.

        Where it is not 1, ``values`` hold it as a factor: a value divided by it is the item's loss in units of the
        mean, as a level is that a loss is compared with.

        Args:
            labels: of items that count, as ``items_in`` returns them, shape ``(items, ...)``.

        Returns:
            1 for each, shape ``(items,)``; where classes have weights, that of the label's.
        """
        return torch.ones(len(labels), device=labels.device)

    def valid(self, labels: Tensor) -> Tensor:
        """Which items count, of labels as ``align_labels`` returns them; by default those whose label is not -100."""
        return labels != -100

    def align_labels(self, labels: Tensor) -> Tensor:
        """Labels of the items, in the order of ``align_logits``."""
        return labels

    def align_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits of the items, given the aligned labels; the first dimensions are those of ``valid(labels)``."""
        return logits

    def labels_of(self, batch: Mapping[str, Any]) -> Tensor:
        """The labels in a batch."""
        return signed(batch[self.columns[0]])

    def inputs_of(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is to be given of a batch: all but the labels, so that it computes no loss itself."""
        return {name: value for name, value in batch.items() if name not in self.columns}

    def model_pass(self) -> AbstractContextManager[None]:
        """What a model runs within where its outputs are for this loss, and for nobody else."""
        return nullcontext()

    def logits_of(self, outputs: Any) -> Tensor:
        """The logits in what a model returns: a tensor, a tuple that begins with one, or an output of transformers."""
        if isinstance(outputs, Tensor):
            return outputs
        return outputs[0] if isinstance(outputs, tuple) else outputs["logits"]

    def logits_in(self, outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        """``logits_of`` what a model returned for a batch, where padding has a part in it."""
        return self.logits_of(outputs)

    def _averaged_of(self, outputs: Any, batch: Mapping[str, Any]) -> Any:
        """What ``average`` is given."""
        return self.logits_in(outputs, batch)

    def items_of(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Items of each term in a batch, ``"loss"`` alone; 0 where the batch has no labels."""
        return {"loss": self.items(self.labels_of(batch)) if self._has_labels(batch) else torch.tensor(0)}

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a batch's loss, ``"loss"`` alone.

        Args:
            outputs: what a model returned.
            batch: with the labels, or without them: then the loss is 0.
            items: of the whole optimizer step; where there are none, those of the batch count.

        Returns:
            Tensors of shape ``()``.
        """
        if not self._has_labels(batch):
            return {"loss": self.logits_of(outputs).sum() * 0.0}
        return {"loss": self.average(self._averaged_of(outputs, batch), self.labels_of(batch), items.get("loss"))}

    def _has_labels(self, batch: Mapping[str, Any]) -> bool:
        return all(batch.get(column) is not None for column in self.columns)

    def items(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """How many items count.

        Args:
            labels: as ``labels_of`` returns them.
            mask: further items to leave out, ``False`` there, of the shape of the labels before alignment.

        Returns:
            Their number, shape ``()``.
        """
        return self._chosen(labels, mask)[1].sum()

    def forward(
        self,
        outputs: Any,
        labels: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The sum over the items of a batch, divided by those of the whole optimizer step.

        Args:
            outputs: logits, or what a model returned.
            labels: as ``labels_of`` returns them.
            mask: further items to leave out, ``False`` there.
            num_items_in_batch: labels beside -100 in all micro-batches (and processes) of the step, as
                ``transformers.Trainer`` counts them: cells, where labels are a matrix; ``None`` means of this batch.

        Returns:
            The loss, shape ``()``; 0, attached to the graph, where no item counts.

        Raises:
            ValueError: logits and labels are of different shapes; or labels are those of a plain Trainer that knows no
                other column than ``labels``.
        """
        if labels is None and self.columns != ("labels",):
            raise ValueError(
                f"{type(self).__name__} has its labels in {' and '.join(self.columns)}, and Trainer(compute_loss_func"
                "=...) hands over the column labels alone: give the loss to TechniqueTrainer(loss=...)"
            )
        known = signed(labels)
        items: Tensor | float | None = num_items_in_batch
        if items is not None and (per_item := self.labels_per_item(known)) > 1:
            items = items / per_item
        return self.average(outputs, known, items, mask)

    def labels_per_item(self, labels: Tensor) -> int:
        """Labels that make up one item: 1, or the classes of a multi-label row; raises where that cannot be told."""
        return 1

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The sum over the items of a batch, divided by ``items``, those of the whole optimizer step.

        Args:
            outputs: logits, or what a model returned.
            labels: as ``labels_of`` returns them.
            items: as ``items`` counts them, summed over the step; ``None`` means of this batch.
            mask: further items to leave out, ``False`` there.

        Returns:
            As ``forward``.
        """
        logits, labels = self.items_in(self.logits_of(outputs), labels, mask)
        total = self.values(logits, labels).sum()
        count = torch.as_tensor(len(labels) if items is None else items, device=total.device)
        return total / (count + (count == 0))  # no clamp, since weights of items may add up to less than 1

    def restart(self) -> None:
        """Forget what earlier training has left, such as sums over its steps; parameters stay."""
        for module in self.modules():
            if isinstance(module, StepSums):
                module.restart()

    def items_in(self, logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and labels of the items that count, in fp32 or better.

        Args:
            logits: as ``logits_of`` returns them.
            labels: as ``labels_of`` returns them.
            mask: further items to leave out, ``False`` there.

        Returns:
            Shapes ``(items, ...)`` and ``(items, ...)``.

        Raises:
            ValueError: logits and labels are of different shapes; or logits that are to go into a softmax are surely
                probabilities, which the first batch is looked at for.
        """
        labels, chosen = self._chosen(labels, mask)
        logits = self.align_logits(logits, labels)
        if logits.shape[: chosen.dim()] == chosen.shape:
            logits = those_chosen(logits, chosen)
        elif logits.dim() != 2 or len(logits) != chosen.sum():  # heads with sparse_prediction choose themselves
            raise ValueError(
                f"{type(self).__name__}: logits of shape {tuple(logits.shape)} do not fit labels of shape "
                f"{tuple(labels.shape)}"
            )
        logits = at_least_fp32(logits)
        if self.divergence is softmax:
            self.refuse_probabilities(logits)
        return logits, those_chosen(labels, chosen)

    def refuse_probabilities(self, logits: Tensor) -> None:
        """A ``ValueError`` where the logits of the first batch are probabilities; a look waits for the device."""
        if not self._looked:
            self._looked = len(logits) > 1  # one row tells nothing
            refuse_probabilities(logits)

    def _chosen(self, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        aligned = self.align_labels(signed(labels))
        if mask is not None:
            kept = self.align_labels(mask).bool()
            if kept.shape == aligned.shape:
                aligned = torch.where(kept, aligned, -100)
            else:  # labels of a row are several
                return aligned, self.valid(aligned) & kept
        return aligned, self.valid(aligned)


def those_chosen(tensor: Tensor, chosen: Tensor) -> Tensor:
    """``tensor[chosen]``, without the choosing where all are: it takes several times as long as a loss of cells.

    Args:
        tensor: shape ``(*shape, ...)``.
        chosen: shape ``shape``, boolean.

    Returns:
        Shape ``(chosen, ...)``; a view where all are.

    Example:
        >>> those_chosen(torch.tensor([3, 4, 5]), torch.tensor([True, False, True]))
        tensor([3, 5])
    """
    return tensor.flatten(0, chosen.dim() - 1) if chosen.all() else tensor[chosen]
