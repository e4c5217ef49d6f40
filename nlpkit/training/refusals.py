"""What a Trainer refuses, since it would train on another loss, or on none."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import TrainerCallback

from nlpkit.losses.loss import Loss
from nlpkit.training.monitoring.schedules import ScheduledStrength
from nlpkit.training.technique import Batch, Technique, no_mere_callback


def refuse_coupled_parts(loss: Loss | None, techniques: Sequence[Technique], accumulation: int) -> None:
    """A loss over a batch is another one over its parts.

    Args:
        loss: of the task; ``None`` is a head's own, which couples nothing.
        techniques: of the Trainer.
        accumulation: micro-batches of a step.

    Raises:
        ValueError: one couples the rows of a micro-batch, and nothing makes one batch of them.
    """
    if accumulation == 1 or any(technique.joins_micro_batches for technique in techniques):
        return
    moves = any(isinstance(technique, ScheduledStrength) for technique in techniques)  # a weight of 0, perhaps
    for part in (loss, *(technique for technique in techniques if technique.active or moves)):
        if part is not None and part.scope == "micro-batch":
            joined = ", or add the technique GradCache(), which makes one batch of a step's micro-batches"
            raise ValueError(
                f"{type(part).__name__} couples the rows of a batch, so that gradient_accumulation_steps="
                f"{accumulation} would train on another loss: set it to 1{joined if part is loss else ''}"
            )


def refuse_no_labels(loss: Loss, techniques: Sequence[Technique], batches: Sequence[Batch]) -> None:
    """Without labels, nor items of techniques, nothing would be learnt, and nobody told.

    Args:
        loss: of the task.
        techniques: those that act.
        batches: of the first step.

    Raises:
        ValueError: none of them has a column of labels.
    """
    columns = loss.columns
    if not columns or any(name in batch for batch in batches for name in columns):
        return
    if not any(technique.items(batch) for technique in techniques for batch in batches):
        raise ValueError(
            f"no batch of the first step has {' and '.join(columns)}, only {', '.join(batches[0])}: the Trainer "
            "drops columns that the model's forward does not name, unless label_names has them or "
            "remove_unused_columns=False"
        )


def refuse_another_compute_loss(trainer: object, has_computed_terms: bool) -> None:
    """A subclass whose ``compute_loss`` does not call this library's would lose counts of items, and techniques.

    Args:
        trainer: that has run a micro-batch.
        has_computed_terms: in it, by the way of this library.

    Raises:
        ValueError: it has not.
    """
    if not has_computed_terms:
        raise ValueError(
            f"compute_loss of {type(trainer).__name__} does not call TechniqueTrainer's, which divides losses by the "
            "items of the whole step and adds the terms of techniques: give the loss as loss=, a class of "
            "nlpkit.losses (weights of classes: FocalLoss(gamma=0, alpha=weights)) or a function of (outputs, labels, "
            "num_items_in_batch=...)"
        )


def refuse_callbacks(callbacks: Sequence[TrainerCallback], techniques: Sequence[Technique]) -> None:
    """A technique that a Trainer knows as a callback only does nothing, or half of what it should.

    Args:
        callbacks: of the Trainer.
        techniques: of the Trainer.

    Raises:
        ValueError: a callback is a technique that is not among them.
    """
    for callback in callbacks:
        if isinstance(callback, Technique) and not any(callback is technique for technique in techniques):
            raise no_mere_callback(callback)
