"""A copy of the model whose weights follow slowly, as the target of BYOL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.training.technique import Host, Technique


class SlowCopy(Technique):
    """Keep a copy of the model that follows it by an exponential moving average, for a loss that asks it for targets.

    Source: BYOL, arXiv 2006.07733, section 3.1. The copy's parameters are
    ``decay * copy + (1 - decay) * model`` after each optimizer step, and its buffers those of the model.

    Args:
        model: that is trained.
        decay: the share of the copy that stays at a step.

    Raises:
        ValueError: the decay is not in [0, 1); or another model is trained.

    Note:
        The copy takes the memory of the model's weights, and a forward pass per batch where a loss uses it; it has no
        dropout. Evaluation and what is saved are the model's own: for those of an average take ``EMA``. With
        ``load_best_model_at_end`` the copy is that of the best checkpoint too.

    Example:
        >>> from nlpkit.losses import NonContrastiveLoss, predictor
        >>> model = nn.Linear(8, 8)
        >>> slow = SlowCopy(model)
        >>> loss, techniques = NonContrastiveLoss(predictor(8), target=slow.module), [slow]
    """

    spans_training = True

    def __init__(self, model: nn.Module, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"SlowCopy: decay={decay} must be in [0, 1)")
        self._model = model
        self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)
        self._average.n_averaged.fill_(1)  # it begins as the model, and moves at the first step
        self._average.requires_grad_(False).eval()

    @property
    def module(self) -> nn.Module:
        """The copy."""
        return self._average.module

    def prepare(self, trainer: Host) -> None:
        """Looks whether the model is the one that is trained."""
        if trainer.model is not self._model:
            raise ValueError("SlowCopy follows another model than the one that is trained: give it the same")
        self._average.to(trainer.args.device)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The copy follows."""
        self._average.update_parameters(self._model)

    def state_dict(self) -> dict[str, Tensor]:
        """The copy's weights by their names."""
        return {name: value.detach() for name, value in self.module.named_parameters()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over the copy's weights."""
        for name, parameter in self.module.named_parameters():
            parameter.copy_(state[name])
