"""The loss of a model's own head, as a Trainer comes to know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss
from nlpkit.losses.standard import BinaryCrossEntropyLoss, SpanLoss, SquaredErrorLoss
from nlpkit.modes import evaluating
from nlpkit.training.task_loss.stock_losses import agrees_with_head, stock_loss, with_head, with_known_labels
from nlpkit.training.technique import Batch


class HeadLoss:
    """Found on the first batch, and compared with what the head gives on the first one that has labels.

    Args:
        label_smoothing: of the losses over classes.
    """

    def __init__(self, label_smoothing: float) -> None:
        self._label_smoothing = label_smoothing
        self._model: Any = None
        self.is_checked = False

    def begin(self, model: Any) -> None:
        """Another model, which ``model_init`` has made, may have another head.

        Args:
            model: that will be trained.
        """
        if self._model is not model:
            self._model, self.is_checked = model, False

    def find(self, model: nn.Module, batch: Batch, mean_over_processes: Callable[[Tensor], Tensor]) -> Loss:
        """Run the model once or twice, in evaluation mode, by which it sets ``config.problem_type`` as well.

        Args:
            model: as it is run.
            batch: where the model is.
            mean_over_processes: of a tensor; all of them must run the model as often.

        Returns:
            The loss.

        Raises:
            ValueError: the head is not known, or gives another loss.
        """
        with evaluating(model), torch.no_grad():
            outputs = model(**batch)
            loss = stock_loss(model)
            has_labels = all(batch.get(column) is not None for column in loss.columns)
            if has_labels and isinstance(loss, BinaryCrossEntropyLoss | SquaredErrorLoss | SpanLoss):
                # On all processes, whatever labels they have.
                batch = with_known_labels(loss, batch)
                outputs = model(**batch)
            agrees = agrees_with_head(loss, outputs, batch, type(with_head(model)).__name__)
        device = next(model.parameters()).device
        self.is_checked = bool(mean_over_processes(torch.tensor(float(agrees), device=device)) == 1)
        return stock_loss(model, self._label_smoothing)
