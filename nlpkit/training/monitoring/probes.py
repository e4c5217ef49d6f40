"""Numbers from anywhere inside a model, in the training log."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import torch
from accelerate.utils import gather_object, reduce
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from nlpkit.training.monitoring.collecting import Collector
from nlpkit.training.one_of_a_kind import refuse_another
from nlpkit.training.technique import Host, Technique

_current: ContextVar[Collector[tuple[str, Tensor]] | None] = ContextVar("probes", default=None)


def probe(name: str, tensor: Tensor) -> None:
    """Log the mean of a tensor; call it anywhere inside ``forward``.

    Args:
        name: in the log.
        tensor: any shape; its graph is left alone.

    Note:
        It does nothing unless ``Probes`` is at work: in evaluation, in prediction, in a plain Trainer, and when
        gradient checkpointing runs a block again. Nothing waits for the device until a log is written.

    Example:
        >>> probe("hidden_norm", torch.ones(2, 3).norm(dim=-1))
    """
    collector = _current.get()
    if collector is not None:
        collector.found.append((name, tensor.detach().double().mean()))


class Probes(Technique):
    """Log what ``probe`` is given, averaged over its calls since the last log, on all processes.

    Note:
        The mean is over calls: a micro-batch of few rows counts as much as another. Names may differ between
        processes and steps.

    Example:
        >>> Probes().name
        'probes'
    """

    def __init__(self) -> None:
        self._collector = Collector(_current, anew=False)

    def prepare(self, trainer: Host) -> None:
        """Needs the trainer's log; refuses a second one."""
        refuse_another(self, trainer.techniques, Probes, "what probe is given goes to one of them")
        self._trainer = trainer
        self._sums: dict[str, Tensor] = {}
        self._calls: dict[str, int] = {}
        self._logged = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Watch the model."""
        self._logged = state.global_step
        self._collector.watch(kwargs["model"], lambda: self.active)

    def leave(self) -> None:
        """Watch it no longer."""
        self._collector.leave()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add up what the step has left, and log it where a log is due."""
        for name, value in self._collector.found:
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._calls[name] = self._calls.get(name, 0) + 1
        self._collector.found = []
        if control.should_log:
            self._log(args, state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log, where that is done once an epoch."""
        if control.should_log:
            self._log(args, state)

    def _log(self, args: TrainingArguments, state: TrainerState) -> None:
        names = sorted(set(gather_object(list(self._sums))))
        steps = state.global_step - self._logged
        if names and steps:
            zero = torch.zeros((), dtype=torch.float64, device=args.device)
            sums = torch.stack([self._sums.get(name, zero) for name in names])
            calls = torch.tensor([self._calls.get(name, 0) for name in names], device=args.device)
            means = reduce(sums, "sum") / reduce(calls, "sum")
            # The log adds up over processes and steps, and divides by the steps.
            for name, mean in zip(names, means, strict=True):
                self._trainer.log_term(name, mean * steps / args.world_size)
        self._sums, self._calls, self._logged = {}, {}, state.global_step
