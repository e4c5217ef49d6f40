"""Averages of the weights over training: evaluated and kept in place of the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.training.one_of_a_kind import refuse_another
from nlpkit.training.technique import Host, Technique

#: How ``AveragedModel`` wants an average: of its tensors, those of the model, and how many models are in it.
Averaging = Callable[[Any, Any, Any], None]


class AveragedWeights(Technique):
    """What ``EMA`` and ``SWA`` share: an average of the trained weights, of which evaluation makes use.

    Note:
        Averages are kept by ``torch.optim.swa_utils.AveragedModel``, in fp32 or better, of all parameters that the
        optimizer has, those of a loss included; the model's buffers stay as they are. The average moves once per
        optimizer step.

        Evaluation and prediction during training run with the average in the model, and the weights that are trained
        come back to the bit. Checkpoints hold both: the trained weights in ``model.safetensors``, from which training
        goes on, and the average beside them. So the best checkpoint is the one whose *average* was best; and when
        training ends the average is in the model, that of the best checkpoint with ``load_best_model_at_end``, and is
        what ``save_model`` writes. A run that is interrupted leaves the trained weights, and the average in its last
        checkpoint.
    """

    spans_training = True

    _average: AveragedModel | None
    _weights: dict[str, Tensor]
    _loaded: dict[str, Tensor]

    def prepare(self, trainer: Host) -> None:
        """Refuses a second average."""
        refuse_another(self, trainer.techniques, AveragedWeights, "only one average can be in the model")
        self._loss = trainer.given_loss
        self.leave()

    def due(self, state: TrainerState) -> bool:
        """Whether the step that has just been taken goes into the average; ``state`` counts those before it."""
        return True

    def averaging(self, averaged: int) -> Averaging:
        """How weights go into an average that holds so many already."""
        raise NotImplementedError(f"{type(self).__name__} must define averaging(averaged)")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin an average, or go on with that of a checkpoint."""
        trained = {parameter for group in kwargs["optimizer"].param_groups for parameter in group["params"]}
        own = {} if self._loss is None else {f"loss.{n}": p for n, p in self._loss.named_parameters()}
        self._weights = {n: p for n, p in (own | dict(kwargs["model"].named_parameters())).items() if p in trained}
        self._average = AveragedModel(_Wide(self._weights), multi_avg_fn=self._mean)
        if self._loaded:
            self._take(self._loaded)

    def _mean(self, averages: Any, weights: Any, averaged: Any) -> None:
        self.averaging(int(averaged))(averages, weights, averaged)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The weights have moved."""
        if self._average is not None and self.due(state):
            self._average.update_parameters(_Wide(self._weights))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the average in the model: the last one, or that of the checkpoint which the Trainer has loaded."""
        self._put_average()

    def leave(self) -> None:
        """The average is done with: what evaluation has, from now on, is what the model holds."""
        self._average, self._weights, self._loaded = None, {}, {}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The average is in the model, until its own weights come back."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()} if self._has_average() else {}
        self._put_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in own.items():
                    self._weights[name].copy_(weight)

    def _has_average(self) -> bool:
        return self._average is not None and int(self._average.n_averaged) > 0

    @torch.no_grad()
    def _put_average(self) -> None:
        if self._average is not None and self._has_average():
            for weight, average in zip(self._weights.values(), self._average.module.parameters(), strict=True):
                weight.copy_(average)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by the names of the weights, and how many steps are in it."""
        if self._average is None:
            return {}
        averages = self._average.module.parameters()
        state = {f"average.{name}": value.detach() for name, value in zip(self._weights, averages, strict=True)}
        return state | {"averaged": self._average.n_averaged}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over an average: at once where one has begun, or else when training begins."""
        if self._average is None:
            self._loaded = state
        else:
            self._take(state)

    @torch.no_grad()
    def _take(self, state: dict[str, Tensor]) -> None:
        average: Any = self._average
        names = {f"average.{name}" for name in self._weights}
        if names != state.keys() - {"averaged"}:
            odd = sorted(names ^ (state.keys() - {"averaged"}))
            raise ValueError(f"{type(self).__name__}: the checkpoint's average is of other weights: {', '.join(odd)}")
        for name, value in zip(self._weights, average.module.parameters(), strict=True):
            value.copy_(state[f"average.{name}"])
        average.n_averaged.copy_(state["averaged"])


class _Wide(nn.Module):
    """Weights as a module, in fp32 or better: those that are so already are not copied."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(at_least_fp32(weight.detach()), requires_grad=False) for weight in weights.values()
        )


class EMA(AveragedWeights):
    """Evaluate and keep an exponential moving average of the weights.

    Source: ``torch.optim.swa_utils``; the warm-up of the decay is ``(1 + t) / (10 + t)``, as TensorFlow's
    ``ExponentialMovingAverage`` has it, so that early steps do not weigh on short runs.

    Args:
        decay: the share of the average that stays at a step, once warmed up.
        warmup: whether it begins lower.

    Raises:
        ValueError: the decay is not in [0, 1).

    Note:
        One copy of the trained weights in fp32, a second one during evaluation, and no pass. See ``AveragedWeights``
        for what checkpoints hold. With a rate that falls to 0 it changes little.

    Example:
        >>> [round(EMA(decay=0.999).decay_after(steps), 3) for steps in (0, 90, 100_000)]
        [0.1, 0.91, 0.999]
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay={decay} must be in [0, 1)")
        self.decay, self.warmup = decay, warmup

    def decay_after(self, averaged: int) -> float:
        """The share of the average that stays, after so many steps."""
        return min(self.decay, (1 + averaged) / (10 + averaged)) if self.warmup else self.decay

    def averaging(self, averaged: int) -> Averaging:
        """Torch's moving average."""
        return get_ema_multi_avg_fn(self.decay_after(averaged))


class SWA(AveragedWeights):
    """Evaluate and keep the plain average of the weights over the last part of training.

    Source: arXiv 1803.05407.

    Args:
        start: the share of training after which averaging begins.
        every: steps from one of the averaged weights to the next.

    Raises:
        ValueError: ``start`` is not in [0, 1), or ``every`` is less than 1.

    Note:
        As ``EMA``. Before it begins, evaluation has the trained weights. It wants a learning rate that stays high,
        such as ``lr_scheduler_type="constant_with_warmup"``; models with batch normalisation need
        ``torch.optim.swa_utils.update_bn`` afterwards.

    Example:
        >>> SWA(start=0.5).name
        'swa'
    """

    def __init__(self, start: float = 0.75, every: int = 1) -> None:
        self.start = checked_number("SWA: start", start, least=0, below=1)
        self.every = checked_number("SWA: every", every, least=1, whole=True)

    def due(self, state: TrainerState) -> bool:
        """Every so many steps, the last one among them."""
        left = state.max_steps - (state.global_step + 1)
        return state.global_step + 1 > self.start * state.max_steps and left % self.every == 0

    def averaging(self, averaged: int) -> Averaging:
        """Torch's plain average."""
        return get_swa_multi_avg_fn()
