"""What a Trainer refuses, since it would train on another loss, or on none."""

from __future__ import annotations

from collections.abc import Sequence

from nlpkit.losses.loss import Loss
from nlpkit.training.technique import Batch, Technique


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
    for part in (loss, *techniques):
        if part is not None and part.scope == "micro-batch":
            raise ValueError(
                f"{type(part).__name__} couples the rows of a batch, so that gradient_accumulation_steps="
                f"{accumulation} would train on another loss: set it to 1, or add the technique GradCache(), which "
                "makes one batch of a step's micro-batches"
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
