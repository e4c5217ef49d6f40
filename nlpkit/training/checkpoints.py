"""Where an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path


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


def _is_complete(checkpoint: Path) -> bool:
    state = checkpoint / "trainer_state.json"
    if not state.is_file():
        return False
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
