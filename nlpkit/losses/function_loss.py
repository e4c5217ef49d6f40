"""A user's own function as a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss


class FunctionLoss(Loss):
    """A function of outputs and labels, as ``Trainer(compute_loss_func=...)`` takes it; items are labels beside -100.

    Args:
        function: called with ``outputs``, ``labels`` and ``num_items_in_batch=``, by which it must divide a sum.
        shift: whether the function shifts labels, so that the first of each row is no item.

    Raises:
        TypeError: it cannot be called so, as a class or a module of torch; or it is a ``Loss`` already.

    Example:
        >>> def hinge(outputs, labels, num_items_in_batch=None):
        ...     return (1 - outputs * labels).clamp(min=0).sum() / num_items_in_batch
        >>> FunctionLoss(hinge)(torch.tensor([0.5, 2.0]), torch.tensor([1.0, -1.0])).item()
        1.75
    """

    def __init__(self, function: Callable[..., Tensor], shift: bool = False) -> None:
        super().__init__()
        if isinstance(function, Loss):  # of which items are not always labels, and rows may be coupled
            raise TypeError(f"{type(function).__name__} is a loss of nlpkit: give it as it is, without FunctionLoss")
        try:
            called = function.forward if isinstance(function, nn.Module) else function  # whose __call__ takes anything
            signature(called).bind(None, None, num_items_in_batch=None)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"loss={function!r} is no function of (outputs, labels, num_items_in_batch=...): give an object of "
                "nlpkit.losses, such as CrossEntropyLoss(), or CrossEntropyLoss(class_weights=...) where classes have "
                f"weights ({error})"
            ) from None
        self.function, self.shift = function, shift

    def align_labels(self, labels: Tensor) -> Tensor:
        """All labels, or those from the second position on."""
        return labels[..., 1:] if self.shift else labels

    def _averaged_of(self, outputs: Any, batch: Mapping[str, Any]) -> Any:
        return outputs

    def average(
        self, outputs: Any, labels: Tensor, items: Tensor | float | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """What the function returns; see ``Loss.average``."""
        if mask is not None:
            raise ValueError("a function of outputs and labels takes no mask: set the labels to -100 instead")
        items = self.items(labels).clamp(min=1) if items is None else items
        return self.function(outputs, labels, num_items_in_batch=torch.as_tensor(items, device=labels.device))
