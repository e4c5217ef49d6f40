"""The ``PetTrainer`` that the settings of a classifier's ``fit`` make.

A module of its own, since importing a Trainer takes longer than many a prediction does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any

from tqdm.auto import tqdm
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nlpkit.pet.clozes.examples import Example
from nlpkit.pet.training.fitting import Fitting
from nlpkit.pet.training.objective import Objective
from nlpkit.pet.training.trainer import PetTrainer, PetTrainingArguments


def train(
    objective: Objective[Any],
    examples: Sequence[Example],
    validation: Sequence[Example],
    unlabelled: Sequence[Example],
    fitting: Fitting,
) -> None:
    """Train an objective's classifier by ``PetTrainer``, without a line of output but a bar for what takes long.

    Args:
        objective: around the classifier.
        examples: to train on.
        validation: choose the step; without any the last one wins.
        unlabelled: texts for objectives that use them.
        fitting: see ``Fitting``.

    Raises:
        ValueError: ``patience`` without validation, or what ``PetTrainer`` refuses.
    """
    if fitting.patience is not None and not validation:
        raise ValueError(f"patience={fitting.patience} needs examples to judge by; give validation, or a share of it")
    with ExitStack() as stack:
        folder = fitting.output_dir or stack.enter_context(TemporaryDirectory(prefix="nlpkit-fit-"))
        arguments = PetTrainingArguments(
            output_dir=str(folder),
            max_steps=fitting.max_steps,
            per_device_train_batch_size=fitting.batch_size,
            learning_rate=fitting.learning_rate,
            patience=fitting.patience,
            seed=fitting.seed,
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer = PetTrainer(objective, arguments, examples, list(validation) or None, unlabelled)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Bar())
        trainer.train()


class _Bar(TrainerCallback):
    """A bar for training that takes longer than a moment."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar = tqdm(total=state.max_steps, desc="training", unit="step", delay=3, leave=False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.update(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.close()
