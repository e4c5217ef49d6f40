"""The loss that a Trainer is given, and what a first batch shows of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit import losses
from nlpkit.losses.function_loss import FunctionLoss
from nlpkit.losses.loss import Loss
from nlpkit.training.random_state import RandomState
from nlpkit.training.task_loss.stock_losses import predicts_next_token, with_head
from nlpkit.training.technique import Batch, Items


class GivenLoss:
    """A loss, or a function as one, which is looked at once, where a batch has labels.

    Args:
        given: as ``TechniqueTrainer(loss=...)`` takes it; ``None`` is a head's own.

    Raises:
        TypeError: it is a function of ``nlpkit.losses``, not its class, or no loss at all.

    Example:
        >>> GivenLoss(losses.cross_entropy)
        Traceback (most recent call last):
        TypeError: loss=cross_entropy takes logits and labels, not what a model returns: give loss=CrossEntropyLoss()
    """

    def __init__(self, given: Loss | Callable[..., Tensor] | None) -> None:
        if given is not None:
            _refuse_own_function(given)
        self.loss = given if given is None or isinstance(given, Loss) else FunctionLoss(given)
        self._is_seen = self.loss is None

    def look(self, model: nn.Module, outputs: Any, batch: Batch, items: Items) -> None:
        """See whether it teaches what it seems to.

        Args:
            model: that is trained.
            outputs: of the model.
            batch: with the labels.
            items: of the step.

        Raises:
            ValueError: a function does not divide by the items; or a decoder is taught to repeat its input.
        """
        if self._is_seen or any(batch.get(column) is None for column in self.loss.columns):  # type: ignore[union-attr]
            return
        if isinstance(self.loss, FunctionLoss):
            self._is_seen = _refuse_undivided(self.loss, outputs, batch, items["loss"])
        elif self.loss is not None:
            self._is_seen = _refuse_copying(self.loss, with_head(model), batch)


def _refuse_own_function(given: Any) -> None:
    function = given.function if isinstance(given, FunctionLoss) else given
    function = getattr(function, "func", function)  # of a partial
    if not (function.__class__ is type(_refuse_own_function) and function.__module__.startswith(losses.__name__)):
        return
    name = function.__name__
    beside = vars(sys.modules[function.__module__])
    named = [known for known in dir(losses) if known.lower() == f"{name.replace('_', '')}loss"]
    classes = named or [known for known in dir(losses) if known.endswith("Loss") and known in beside]
    ways = [f"loss={known}()" for known in classes] or ["a class of nlpkit.losses, such as CrossEntropyLoss()"]
    raise TypeError(f"loss={name} takes logits and labels, not what a model returns: give {' or '.join(ways)}")


@torch.no_grad()
def _refuse_undivided(loss: FunctionLoss, outputs: Any, batch: Batch, items: Tensor) -> bool:
    """Whether the function has shown that it halves as the items double, with the random numbers of one call."""
    labels = loss.labels_of(batch)
    drawn = RandomState()
    values = []
    for number in (items, 2 * items):
        values.append(float(loss.average(outputs, labels, number)))
        drawn.again()
    once, half = values
    if once == 0 or not math.isfinite(once):
        return False
    if abs(2 * half - once) > 0.1 * abs(once):  # half precision rounds
        raise ValueError(
            f"loss={getattr(loss.function, '__name__', loss.function)} gives {once:.4g} where num_items_in_batch="
            f"{int(items)}, and {half:.4g} where it is twice as much: it must be a sum over labels, divided by that "
            "number, as F.cross_entropy(logits, labels, reduction='sum') / num_items_in_batch, or the gradient "
            "depends on how a step is cut into micro-batches; or give a class of nlpkit.losses, as CrossEntropyLoss()"
        )
    return True


def _refuse_copying(loss: Loss, model: nn.Module, batch: Batch) -> bool:
    """Whether labels show that they are not the tokens at their own places, of a model that sees these."""
    labels, ids = batch.get("labels"), batch.get("input_ids")
    if not predicts_next_token(model) or ids is None or labels is None or ids.shape != labels.shape:
        return True
    if loss.align_labels(labels).shape != labels.shape:
        return True
    there = loss.valid(labels)
    if there.any() and bool((labels[there] == ids[there]).all()):
        shifts = type(loss).__name__ if hasattr(loss, "shift") else "CrossEntropyLoss"
        raise ValueError(
            f"{type(loss).__name__} compares the logits at a token with the label there, and the labels are the "
            f"input_ids, so that {type(model).__name__} would learn to repeat its input: give "
            f"loss={shifts}(shift=True), or leave loss= out"
        )
    return bool(there.any())
