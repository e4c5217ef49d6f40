"""Folders of tasks by name: FewCLUE, FewGLUE, or splits that were sampled here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nlpkit.fewshot.tasks.fewclue import FEWCLUE, fewclue_task
from nlpkit.fewshot.tasks.fewglue import FEWGLUE, fewglue_task
from nlpkit.fewshot.tasks.folders import FEWGLUE_LAYOUT, TaskFolder
from nlpkit.fewshot.tasks.task import FewShotTask


def task_folders(data: str | Path, names: Sequence[str] = ("all",)) -> list[TaskFolder]:
    """The tasks in a folder.

    Args:
        data: FewCLUE's folder ``datasets`` with a folder per task, FewGLUE's likewise, or one that ``write_k_shot``
            wrote.
        names: which of the tasks; ``"all"`` is all nine of FewCLUE, or all of FewGLUE that there are.

    Returns:
        The tasks in the order of the names.

    Raises:
        FileNotFoundError: the folder, or that of a task, is missing.
        ValueError: unknown task.
    """
    data = Path(data)
    if not data.is_dir():
        raise FileNotFoundError(f"there is no folder {data} with tasks")
    if (data / "manifest.json").is_file():
        sampled = _sampled_folder(data)
        if unknown := sorted(set(names) - {"all", sampled.task.name}):
            raise ValueError(f"{data} holds the task {sampled.task.name!r} only; got {unknown}")
        return [sampled]
    is_fewglue = not any((data / name).is_dir() for name in FEWCLUE) and any(
        (data / name).is_dir() for name in FEWGLUE
    )
    known = tuple(name for name in FEWGLUE if (data / name).is_dir()) if is_fewglue else FEWCLUE
    chosen = list(dict.fromkeys(known if "all" in names else names))
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"{data} holds no task {unknown[0]!r}; it may be one of {', '.join(known)}, or all")
    if is_fewglue:
        return [TaskFolder(fewglue_task(name), data / name, FEWGLUE_LAYOUT) for name in chosen]
    return [TaskFolder(fewclue_task(name, data), data / name) for name in chosen]


def _sampled_folder(folder: Path) -> TaskFolder:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        task = FewShotTask(
            name=manifest["task"],
            text_fields=tuple(manifest["text_fields"]),
            labels=tuple(manifest["labels"]),
            label_key=manifest["label_key"],
            label_names=manifest["label_names"],
        )
        by_name = bool(manifest["read_by_name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest that write_k_shot wrote: {error!r}") from error
    if not by_name:
        raise ValueError(
            f"{folder} was sampled from {task.name!r}, whose records need a function to be read; "
            "pass TaskFolder(task, folder) to run_grid"
        )
    return TaskFolder(task, folder)
