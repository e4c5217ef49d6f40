"""The Trainer's optimizer, with the groups of techniques and the parameters of a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nlpkit.training.frame.refusals import refuse_other_parameters
from nlpkit.training.frame.sharding_mixin import ShardingMixin
from nlpkit.training.task_loss.loss_parameters import LossParameters
from nlpkit.training.technique import Technique


class OptimizerMixin(ShardingMixin):
    """What makes a Trainer's optimizer hold all that is trained, at the rates that techniques set."""

    # Checked on transformers 5.23.0: `_clip_grad_norm` runs once per step, on unscaled gradients;
    # `_load_optimizer_and_scheduler` runs behind `create_optimizer`.

    techniques: list[Technique]
    _loss_parameters: LossParameters

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer with the groups that techniques make, and the parameters of the loss."""
        made = self.optimizer is None
        optimizer: Any = super().create_optimizer(model)
        if made:
            trained: Any = self.model if model is None else model
            refuse_other_parameters(optimizer, trained)
            for technique in self.techniques:
                optimizer.param_groups = technique.groups(trained, optimizer.param_groups)
        if made or self.lr_scheduler is None:
            self._loss_parameters.join(optimizer)
        return optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:
            raise ValueError(
                f"the optimizer's state in {checkpoint} does not fit: {error}; go on with the loss, LayerRates and "
                "trained parameters that it was written with, or begin anew from its weights, as the model's path"
            ) from error

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        self._loss_parameters.clip_gradients(self.args.max_grad_norm)
        return norm
