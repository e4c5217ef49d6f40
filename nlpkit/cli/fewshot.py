"""``nlpkit fewshot``: methods on few-shot tasks, over splits and seeds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nlpkit.cli.inputs import Model


class FewshotCommand(TyperCommand):
    """The verb; its help names the methods, which are looked up when help is wanted: they need torch."""

    def get_help(self, ctx: Any) -> str:
        """The help, with the methods below it."""
        from nlpkit.fewshot.methods.by_name import METHODS

        self.epilog = f"Methods: {', '.join(METHODS)}.\n\n{self.epilog or ''}"
        return super().get_help(ctx)


def fewshot(
    data: Annotated[Path, typer.Option(help="FewCLUE's or FewGLUE's folder of tasks, or splits sampled here.")],
    out: Annotated[Path, typer.Option(help="Folder for results; call again with it to go on, or to add methods.")],
    task: Annotated[list[str], typer.Option(help="Name of a task, or all; may be repeated.")],
    method: Annotated[list[str], typer.Option(help="Name of a method, see below, or METHOD@MODEL; may be repeated.")],
    model: Model = "wobert-mini-zh",
    splits: Annotated[str | None, typer.Option(help="E.g. 0-4 or 0,2; all by default.")] = None,
    seeds: Annotated[str, typer.Option(help="E.g. 0-2; every split is run with each.")] = "0",
    settings: Annotated[
        Path | None, typer.Option(help="Folder with one YAML file per task: patterns and so on. FewCLUE has its own.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Method that the others are compared with.")] = None,
    test: Annotated[bool, typer.Option(help="Score the test too; --no-test while choosing settings.")] = True,
) -> None:
    """Evaluate methods on few-shot tasks: one model per split, selected on that split's own dev part."""
    from nlpkit.fewshot.grid.protocol import run_grid
    from nlpkit.fewshot.grid.results import ResultsFile
    from nlpkit.fewshot.grid.settings import fingerprint_of_model, settings_from_files
    from nlpkit.fewshot.methods.by_name import in_order, rows_named, settings_of_rows
    from nlpkit.fewshot.report.report import leak_report, write_report
    from nlpkit.fewshot.tasks.benchmarks import task_folders
    from nlpkit.fewshot.tasks.fewclue import FEWCLUE
    from nlpkit.fewshot.tasks.published import MAJORITY, ROBERTA_ROWS
    from nlpkit.sources import find_model, settings_path

    def reading(model: str) -> dict[str, str]:
        return {"model": model, "model_files": fingerprint_of_model(find_model(model))}

    numbers = None if splits is None else read_numbers("--splits", splits)
    every_seed = read_numbers("--seeds", seeds)
    rows = rows_named(method)
    if baseline is not None and baseline not in rows:
        raise ValueError(f"--baseline {baseline} is none of the methods of this call: {', '.join(rows)}")
    folders = task_folders(data, task)
    is_fewclue = all(folder.task.name in FEWCLUE for folder in folders)
    if settings is None and is_fewclue:
        settings = settings_path("fewclue")
    settings_of = settings_of_rows(rows, settings_from_files(settings, reading(model)), cache(reading))
    typer.echo(leak_report(folders, numbers, out))
    results = run_grid(
        folders,
        {name: row.method for name, row in rows.items()},
        out,
        splits=numbers,
        seeds=every_seed,
        settings_of=settings_of,
        score_test=test,
    )
    published = (MAJORITY, *ROBERTA_ROWS) if is_fewclue else ()
    all_there = in_order(ResultsFile(out / "results.jsonl").latest().values())
    typer.echo(write_report(all_there, out, baseline, published))
    if failed := sum(result.error is not None for result in results):
        raise ValueError(f"{failed} of {len(results)} runs failed; mend the cause and call again to repeat only those")


def read_numbers(option: str, given: str) -> tuple[int, ...]:
    """The numbers of an option.

    Args:
        option: its name, for errors.
        given: numbers and ranges, as ``parse_splits`` reads them.

    Raises:
        ValueError: anything else.
    """
    from nlpkit.fewshot.tasks.folders import parse_splits

    try:
        return parse_splits(given)
    except ValueError as error:
        raise ValueError(f"{option} {given}: {error}") from None
