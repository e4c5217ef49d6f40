"""Where an interrupted run goes on, and which of the Trainer's settings make it the same run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments

#: Settings of the Trainer that decide what a run learns, beside the rows of a step.
_DECISIVE = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "bf16",
    "fp16",
)


def last_complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint that was written to its end.

    The Trainer writes ``trainer_state.json`` last; a process killed while saving leaves a folder in which it is
    missing or cut off, and to resume from that would fail or, worse, lose the step count.

    Args:
        folder: the Trainer's ``output_dir``; it need not exist.

    Returns:
        The checkpoint's folder, or ``None``.

    Example:
        >>> last_complete_checkpoint("/no/such/folder") is None
        True
    """
    numbered = [
        (int(path.name.removeprefix("checkpoint-")), path)
        for path in Path(folder).glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdecimal()
    ]
    return next((path for _, path in sorted(numbered, reverse=True) if _is_complete(path)), None)


def remove_checkpoints(folder: str | Path) -> None:
    """Remove all checkpoints of a run that is finished and kept in another form.

    Args:
        folder: the Trainer's ``output_dir``; it need not exist.
    """
    for path in Path(folder).glob("checkpoint-*"):
        if path.name.removeprefix("checkpoint-").isdecimal():
            shutil.rmtree(path)


def training_facts(args: TrainingArguments) -> dict[str, Any]:
    """What of the Trainer's settings must not change between the runs of one table, for ``settle_facts``.

    Args:
        args: the settings.

    Returns:
        JSON values by name; ``rows_per_step`` counts those of all processes and accumulated batches.
    """
    values = args.to_dict()
    return {"rows_per_step": rows_per_step(args)} | {name: values[name] for name in _DECISIVE}


def rows_per_step(args: TrainingArguments) -> int:
    """Rows of an optimizer step, over all processes and accumulated batches."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size


def _is_complete(checkpoint: Path) -> bool:
    state = checkpoint / "trainer_state.json"
    if not state.is_file():
        return False
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
