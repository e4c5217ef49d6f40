"""A line of JSON for each thing the Trainer logs, in a file that survives interruption."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nlpkit.files import write_text

#: What the Trainer's summary of a training has, and no other line.
_SUMMARY = "train_runtime"


class MetricsLog(TrainerCallback):
    """Write what the Trainer logs to a JSON-lines file, one event per line, flushed at once.

    When a run resumes, lines from beyond the checkpoint's step are dropped first, because those steps will be
    repeated; so no step appears twice. The summary of an earlier end of training and what followed it, and a
    half-written last line (the process was killed), are dropped too. A run that was interrupted has no summary, since
    the Trainer's is of what followed alone, divided by all steps; one that is called again after its end keeps it.

    Args:
        path: the file, e.g. ``output_dir / "metrics.jsonl"``.

    Note:
        Only the main process writes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._first_step = 0
        self._summary: dict[str, float] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop the lines of steps that are about to be repeated."""
        self._first_step = state.global_step
        if not state.is_world_process_zero:
            return
        events = read_metrics(self.path)
        kept = list(takewhile(lambda event: event["step"] <= state.global_step and _SUMMARY not in event, events))
        self._summary = next((event for event in events if _SUMMARY in event), None)
        write_text(self.path, "".join(json.dumps(event) + "\n" for event in kept))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append one line."""
        if not state.is_world_process_zero or not logs:
            return
        event: dict[str, float] | None = {"step": state.global_step, **logs}
        if _SUMMARY in logs and self._first_step:
            ended_before = self._summary is not None and self._summary["step"] == state.global_step
            event = self._summary if ended_before else None
        if event is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Read the events of a metrics file.

    Args:
        path: the file; a missing one holds no events.

    Returns:
        One dictionary per complete line.
    """
    if not Path(path).exists():
        return []
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
