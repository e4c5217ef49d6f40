"""The parameters of a loss, such as a threshold or centers, which a Trainer, who knows the model's, leaves alone."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from nlpkit.losses.loss import Loss


class LossParameters:
    """They are trained as the model's are, by the optimizer's own settings, without weight decay.

    Args:
        loss: whose; ``None`` has none.
        accelerator: of the Trainer.
    """

    def __init__(self, loss: Loss | None, accelerator: Accelerator) -> None:
        self._parameters = [] if loss is None else [p for p in loss.parameters() if p.requires_grad]
        self._accelerator = accelerator

    def forget_gradients(self) -> None:
        """At the beginning of a step: the Trainer forgets those of the model."""
        for parameter in self._parameters:
            parameter.grad = None

    def reduce_gradients(self) -> None:
        """At the end of a step, the mean over processes: data parallelism sees to the model's."""
        if self._accelerator.num_processes == 1:
            return
        for parameter in self._parameters:
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self._accelerator.reduce(found, "mean")

    def clip_gradients(self, max_norm: float) -> None:
        """To a norm of their own, once the Trainer has clipped the model's, and unscaled all.

        Args:
            max_norm: of all of them together.
        """
        if self._parameters:
            nn.utils.clip_grad_norm_(self._parameters, max_norm)

    def join(self, optimizer: Any) -> None:
        """Become a group of an optimizer, unless they are in one.

        Args:
            optimizer: with the model's groups.
        """
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if new := [parameter for parameter in self._parameters if id(parameter) not in known]:
            optimizer.add_param_group({"params": new, "weight_decay": 0.0})
