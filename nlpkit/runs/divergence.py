"""Training that ends in weights which are no numbers, and would be scored like any other."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class RefuseDivergence(TrainerCallback):
    """End a training in an error where a trained weight is NaN or infinite in the end.

    The Trainer leaves NaN losses out of what it logs (``logging_nan_inf_filter``), and the class with the highest of
    scores that are all NaN is the first one, so such a model gets a score like any other.

    Raises:
        ValueError: a weight is; the message names it and the learning rate.

    Example:
        >>> import torch
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> layer.weight.data[:] = torch.nan
        >>> arguments = TrainingArguments(learning_rate=1.0)
        >>> RefuseDivergence().on_train_end(arguments, TrainerState(), TrainerControl(), model=layer)
        Traceback (most recent call last):
        ValueError: training has diverged at learning_rate=1, which may be too high: weight is NaN or infinite
    """

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the weights."""
        model: nn.Module = kwargs["model"]
        for name, parameter in model.named_parameters():
            tensor = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            if parameter.requires_grad and not tensor.isfinite().all():
                raise ValueError(
                    f"training has diverged at learning_rate={args.learning_rate:g}, which may be too high: {name} is "
                    "NaN or infinite"
                )
