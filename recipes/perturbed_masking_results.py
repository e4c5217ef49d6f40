"""The results of recipes/perturbed_masking.py: a line a score, and a table of what was chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from nlpkit.files import whole_folder
from recipes.perturbed_masking_tasks import Task

Row = dict[str, Any]


class Results:
    """Rows of ``results.jsonl``, added a stage at a time: all rows of a stage are there, or none.

    Args:
        path: the file, read if it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text("utf-8").split("\n") if path.is_file() else []
        self.rows: list[Row] = [json.loads(line) for line in lines if line]

    def select(self, stage: str, model: str, data: str) -> list[Row]:
        """The rows of a stage."""
        wanted = (stage, model, data)
        return [row for row in self.rows if (row["stage"], row["model"], row["data"]) == wanted]

    def has(self, stage: str, model: str, data: str) -> bool:
        """Whether a stage was finished."""
        return bool(self.select(stage, model, data))

    def add(self, stage: str, model: str, data: str, make: Callable[[], Iterable[Row]]) -> None:
        """Make the rows of a stage, unless they are there, and write them down."""
        if self.has(stage, model, data):
            return
        self.rows += [{"stage": stage, "model": model, "data": data, **row} for row in make()]
        with whole_folder(self.path.parent) as draft:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
            (draft / self.path.name).write_text(text, "utf-8")


def results_table(task: Task, rows: Sequence[Row], data: Mapping[str, Sized], settings: Any) -> str:
    """What was chosen on dev and what it scores, below the baselines, in Markdown."""
    figures = [*task.metrics, *task.summaries]
    cap = "" if settings.max_sentences is None else f", at most {settings.max_sentences} a file"
    parts = [
        f"# {settings.task}: {settings.dev_file}\n",
        f"Sentences of at most {settings.max_words} words{cap}; punctuation "
        f"{'counts' if settings.count_punctuation else 'does not count'}. Settings are chosen on dev by {figures[0]}, "
        "for each model and group of decoders. In brackets the 95 % interval over sentences. The last column compares "
        f"with {', '.join(dict.fromkeys(task.floors.values()))}, whichever knows as much as the group.\n",
    ]
    for name, examples in data.items():
        parts.append(f"## {name}: {len(examples)} sentences\n")
        header = ["model", "layer", "distance", "merge", "decoder", *figures, f"{figures[0]} - baseline"]
        shown = [row for row in rows if row["data"] == name and row["stage"] != "grid"]
        floors = {row["decoder"]: row[figures[0]] for row in shown if row["stage"] == "baseline"}
        lines = [[*_setting(row), *(_figure(row, figure) for figure in figures)] for row in shown]
        gains = [
            "" if row["stage"] == "baseline" else f"{100 * (row[figures[0]] - floors[task.floors[row['group']]]):+.2f}"
            for row in shown
        ]
        parts += [
            "| " + " | ".join(header) + " |",
            "| " + " | ".join(["---"] * 5 + ["---:"] * (len(header) - 5)) + " |",
        ]
        parts += ["| " + " | ".join([*line, gain]) + " |" for line, gain in zip(lines, gains, strict=True)]
        parts.append("")
    return "\n".join(parts)


def _setting(row: Row) -> list[str]:
    if row["stage"] == "baseline":
        return ["none", "", "", "", row["decoder"]]
    learnt = "".join(f" ({name} {value:.4g})" for name, value in row["learnt"].items())
    return [
        row["model"],
        str(row["layer"]),
        row["distance"],
        row["merge"],
        f"{row['decoder']}, {row['group']}{learnt}",
    ]


def _figure(row: Row, figure: str) -> str:
    ends = row.get("intervals", {}).get(figure)
    interval = "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
    return f"{100 * row[figure]:.2f}{interval}"
