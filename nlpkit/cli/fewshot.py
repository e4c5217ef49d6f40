"""``nlpkit fewshot``: methods on few-shot tasks, over splits and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nlpkit.cli.inputs import Model, resolve_model


def fewshot(
    data: Annotated[Path, typer.Option(help="FewCLUE's or FewGLUE's folder of tasks, or splits sampled here.")],
    out: Annotated[Path, typer.Option(help="Folder for results; call again with it to go on.")],
    task: Annotated[list[str], typer.Option(help="Name of a task, or all; may be repeated.")],
    method: Annotated[list[str], typer.Option(help="Name of a method; may be repeated.")],
    model: Model = "wobert-mini-zh",
    splits: Annotated[str | None, typer.Option(help="E.g. 0-4 or 0,2; all by default.")] = None,
    seeds: Annotated[str, typer.Option(help="E.g. 0-2; every split is run with each.")] = "0",
    settings: Annotated[
        Path | None, typer.Option(help="Folder with a YAML file a task: patterns and so on. FewCLUE's own by default.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Method to compare the others with.")] = None,
    test: Annotated[bool, typer.Option(help="Score the test too; --no-test while choosing settings.")] = True,
) -> None:
    """Evaluate methods on few-shot tasks: one model a split, selected on that split's own dev."""
    from nlpkit.fewshot.grid.protocol import run_grid
    from nlpkit.fewshot.grid.settings import fingerprint_of_model, settings_from_files
    from nlpkit.fewshot.methods.by_name import methods_named
    from nlpkit.fewshot.report.report import leak_report, write_report
    from nlpkit.fewshot.tasks.benchmarks import task_folders
    from nlpkit.fewshot.tasks.fewclue import FEWCLUE
    from nlpkit.fewshot.tasks.folders import parse_splits
    from nlpkit.fewshot.tasks.published import MAJORITY, ROBERTA_ROWS
    from nlpkit.sources import settings_path

    methods = methods_named(method)
    if baseline is not None and baseline not in methods:
        raise ValueError(f"--baseline {baseline} is none of the methods of this call: {', '.join(methods)}")
    folders = task_folders(data, task)
    numbers = None if splits is None else parse_splits(splits)
    is_fewclue = all(folder.task.name in FEWCLUE for folder in folders)
    if settings is None and is_fewclue:
        settings = settings_path("fewclue")
    common: dict[str, Any] = {"model": model, "model_files": fingerprint_of_model(resolve_model(model))}
    typer.echo(leak_report(folders, numbers, out))
    results = run_grid(
        folders,
        methods,
        out,
        splits=numbers,
        seeds=parse_splits(seeds),
        settings_of=settings_from_files(settings, common),
        score_test=test,
    )
    published = (MAJORITY, *ROBERTA_ROWS) if is_fewclue else ()
    typer.echo(write_report(results, out, baseline, published, Path(model).name))
    if failed := sum(result.error is not None for result in results):
        raise ValueError(f"{failed} of {len(results)} runs failed; mend the cause and call again to repeat only those")
