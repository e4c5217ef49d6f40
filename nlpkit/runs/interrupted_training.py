"""Training that may be interrupted: it goes on from its last checkpoint, with seconds and loss of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from warnings import warn

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_pt_utils import LengthGroupedSampler

from nlpkit.files import read_json
from nlpkit.runs.checkpoints import last_complete_checkpoint


class Training(NamedTuple):
    """What is known of a training, over all calls that it took.

    Attributes:
        steps: of the optimizer.
        loss: the mean of all steps.
        seconds: from the first step to the last one; what was done again after an interruption counts once, and
            neither the time before a call's first step nor that after its last one counts.
    """

    steps: int
    loss: float
    seconds: float


def train_from_last_checkpoint(trainer: Trainer) -> Training:
    """Train from the last complete checkpoint in the Trainer's ``output_dir`` on, or from the beginning.

    Where that checkpoint is the end of training, it is loaded and no step is made.

    Args:
        trainer: as it was in the call that was interrupted. It gets a ``TrainingClock``, and an order of rows that
            follows from its seed.

    Returns:
        Steps, loss and seconds as those of a training that was not interrupted.

    Warns:
        UserWarning: the checkpoint holds no seconds, which then count what follows it.
    """
    for kind in (TrainingClock, _SameOrder):
        if not any(isinstance(callback, kind) for callback in trainer.callback_handler.callbacks):
            trainer.add_callback(kind())
    checkpoint = last_complete_checkpoint(str(trainer.args.output_dir))
    with _without_steps(trainer) if checkpoint is not None and _is_at_its_end(checkpoint) else nullcontext():
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    # The Trainer may have put a clock of its own making in the place of the one that it was given.
    (clock,) = (found for found in trainer.callback_handler.callbacks if isinstance(found, TrainingClock))
    return Training(trainer.state.global_step, mean_loss(trainer.state.log_history), clock.seconds)


class TrainingClock(TrainerCallback, ExportableState):
    """Add up the seconds of training over interruptions; each checkpoint holds those of the steps before it.

    Losses are logged whenever a checkpoint is written, too: the Trainer keeps no others over an interruption.

    Attributes:
        seconds: so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None

    def state(self) -> dict[str, Any]:
        """What ``trainer_state.json`` holds of it."""
        return {"args": {}, "attributes": {"seconds": self.seconds}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over the seconds of a checkpoint."""
        self.seconds, self._since = 0.0, None
        states: Any = state.stateful_callbacks
        if state.global_step and type(self).__name__ in states:
            self.seconds = states[type(self).__name__]["attributes"]["seconds"]
        elif state.global_step:
            warn(
                f"the checkpoint of step {state.global_step} in {args.output_dir} holds no seconds: those of this "
                "training are of the steps that follow",
                stacklevel=2,
            )
        states[type(self).__name__] = self.state()  # where the Trainer looks for it when it saves

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count with the first step, which may come long after a call began: what it skips is read first."""
        if self._since is None:
            self._since = perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count what has passed, evaluations and checkpoints since the step before included."""
        if self._since is not None:
            now = perf_counter()
            self.seconds, self._since = self.seconds + now - self._since, now
        _log_what_would_be_lost(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log before a checkpoint."""
        _log_what_would_be_lost(control)


class _SameOrder(TrainerCallback):
    """Draw the order of an epoch from the seed and its number alone where rows are grouped by length.

    The Trainer (5.23.0) draws it from the state that random numbers are in, which is another one when an epoch is
    begun again from a checkpoint in its middle: some rows would be seen twice in it, and others not at all.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        loader: Any = kwargs["train_dataloader"]
        sampler = getattr(loader, "batch_sampler", None)
        sampler = getattr(sampler, "batch_sampler", sampler)  # of several processes, that of them all
        sampler = getattr(sampler, "sampler", None)
        if isinstance(sampler, LengthGroupedSampler):
            seed = args.seed if args.data_seed is None else args.data_seed
            sampler.generator = torch.Generator().manual_seed(seed + int(state.epoch or 0))


def mean_loss(log_history: Iterable[Mapping[str, float]]) -> float:
    """The mean loss of all steps that were logged.

    Args:
        log_history: of a ``TrainerState``; the loss of an entry is the mean since the one before.

    Example:
        >>> mean_loss([{"step": 3, "loss": 4.0}, {"step": 3, "eval_loss": 9.0}, {"step": 4, "loss": 2.0}])
        3.5
    """
    total, last = 0.0, 0
    for entry in log_history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - last)
            last = int(entry["step"])
    return total / max(1, last)


def _is_at_its_end(checkpoint: Path) -> bool:
    state = read_json(checkpoint / "trainer_state.json")
    return bool(state["global_step"] >= state["max_steps"])


@contextmanager
def _without_steps(trainer: Trainer) -> Iterator[None]:
    """Let the Trainer find no batch: it would make one step too many in an epoch that has more of them (5.23.0)."""
    trainer.get_batch_samples = lambda *_: ([], None)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del trainer.get_batch_samples


def _log_what_would_be_lost(control: TrainerControl) -> None:
    if control.should_save or control.should_evaluate or control.should_training_stop:
        control.should_log = True
