"""FewCLUE: methods on nine Chinese few-shot tasks, five splits each, one model a split, selected on its own dev.

Source: FewCLUE (arXiv 2107.07498). The data are in the folder ``datasets`` of github.com/CLUEbenchmark/FewCLUE.

    python recipes/fewclue.py recipes/configs/fewclue/grid.yaml --data FewCLUE/datasets
    python recipes/fewclue.py recipes/configs/fewclue/grid.yaml --data FewCLUE/datasets --tasks tnews --no_score_test

Duplicates between the parts are printed first. Call it again after an interruption, kill -9 included, and the runs
that ended are not repeated; call it with more tasks, methods, splits or seeds to add them. ``output_dir`` holds
``results.jsonl`` (a line a run), ``settings.json``, ``leaks.md``, ``table.md`` and two pictures. See docs/fewshot.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from nlpkit.fewshot import (
    RunResult,
    methods_named,
    parse_splits,
    run_grid,
    settings_from_files,
    task_folders,
    write_report,
)
from nlpkit.fewshot.grid.settings import fingerprint_of_model
from nlpkit.fewshot.report.report import leak_report
from nlpkit.fewshot.tasks.published import MAJORITY, ROBERTA_ROWS
from nlpkit.runs import parse_recipe_arguments
from nlpkit.sources import model_path


@dataclass
class FewClueArguments:
    """What to evaluate on what."""

    data: str = field(metadata={"help": "folder that holds the tasks' folders"})
    output_dir: str = "runs/fewclue"
    tasks: list[str] = field(default_factory=lambda: ["all"], metadata={"help": "names of tasks, or all"})
    methods: list[str] = field(default_factory=lambda: ["majority"], metadata={"help": "names of methods"})
    splits: str = field(default="0-4", metadata={"help": "numbers of splits, e.g. 0-4 or 0,2"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "every split is run with each"})
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, or the name of a shipped model"})
    settings_dir: str = field(
        default="recipes/configs/fewclue", metadata={"help": "folder with a YAML file a task: patterns, label words"}
    )
    score_test: bool = field(default=True, metadata={"help": "false while patterns and settings are being chosen"})
    baseline: str | None = field(default=None, metadata={"help": "method that the others are compared with"})


def main(argv: list[str]) -> list[RunResult]:
    """Run the recipe and return a result a run."""
    (settings,) = parse_recipe_arguments([FewClueArguments], argv)
    folders = task_folders(settings.data, settings.tasks)
    splits = parse_splits(settings.splits)
    model = Path(settings.model) if Path(settings.model).is_dir() else model_path(settings.model)
    settings_of = settings_from_files(
        settings.settings_dir, {"model": settings.model, "model_files": fingerprint_of_model(model)}
    )
    print(leak_report(folders, splits, settings.output_dir))
    results = run_grid(
        folders,
        methods_named(settings.methods),
        settings.output_dir,
        splits=splits,
        seeds=settings.seeds,
        settings_of=settings_of,
        score_test=settings.score_test,
    )
    published = (MAJORITY, *ROBERTA_ROWS)
    print(write_report(results, settings.output_dir, settings.baseline, published, Path(settings.model).name))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
