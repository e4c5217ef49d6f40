"""The report of a grid: leaks before the runs; scores, differences, cost and a picture after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nlpkit.fewshot.grid.results import PARTS, RunResult, read_facts
from nlpkit.fewshot.methods.by_name import WITHOUT_MODEL
from nlpkit.fewshot.report.plots import plot_scores
from nlpkit.fewshot.report.tables import TITLES, comparison_table, cost_table, score_table
from nlpkit.fewshot.tasks.folders import TaskFolder, check_splits
from nlpkit.fewshot.tasks.leaks import Overlap, leak_table, overlaps_of_splits
from nlpkit.fewshot.tasks.published import PublishedRow
from nlpkit.files import only_writer, read_json, write_json, write_text


def leak_report(folders: Sequence[TaskFolder], splits: Sequence[int] | None, output: str | Path) -> str:
    """Look for duplicates between the parts of every split, and write ``leaks.md``.

    Args:
        folders: the tasks.
        splits: numbers of splits, by default all of each task.
        output: folder to write to. Of earlier calls ``leaks.json`` keeps what was found in other tasks and splits, and
            the page tells of it, too.

    Returns:
        What was found in these tasks and splits, to be shown before anything is trained.

    Raises:
        BlockingIOError: another process is writing to the folder.
        ValueError: a task lacks one of the splits, or a file is broken.
    """
    for folder in folders:
        check_splits(folder, splits or ())
    with only_writer(output):
        bar = tqdm(folders, desc="looking for duplicates", unit="task", leave=False)
        found = {folder.task.name: _leaks(folder, splits or folder.splits()) for folder in bar}
        path = Path(output) / "leaks.json"
        known: dict[str, Any] = read_json(path) if path.is_file() else {}
        for task, leaks in found.items():
            of_splits = known.get(task, {}).get("splits", {}) | leaks["splits"]
            known[task] = leaks | {"splits": dict(sorted(of_splits.items(), key=lambda item: int(item[0])))}
        write_json(path, known)
        _write(_leak_page(known), output, "leaks.md")
    return _leak_page(found)


def _leaks(folder: TaskFolder, splits: Sequence[int]) -> dict[str, Any]:
    """What a task's parts share, as JSON values."""
    overlaps = overlaps_of_splits(folder, splits)
    return {
        "splits": {str(split): [asdict(one) for one in found] for split, found in overlaps.items()},
        "absent": [part for part in ("test", "unlabelled") if not _has(folder, part)],
    }


def _leak_page(leaks: Mapping[str, Any]) -> str:
    overlaps = {
        task: {int(split): [Overlap(**one) for one in found] for split, found in of_task["splits"].items()}
        for task, of_task in leaks.items()
    }
    text = "## Duplicates\n\n" + leak_table(overlaps)
    for part in ("test", "unlabelled"):
        names = [task for task, of_task in leaks.items() if part in of_task["absent"]]
        if names:
            text += f"\nAbsent {part}: {', '.join(names)}.\n"
    return text


def write_report(
    results: Sequence[RunResult],
    output: str | Path,
    baseline: str | None = None,
    published: Sequence[PublishedRow] = (),
) -> str:
    """Write ``table.md``, and where matplotlib is installed ``scores-<part>.svg``.

    Args:
        results: one per run.
        output: folder to write to; what a grid wrote there tells which model each method was run with.
        baseline: method that the others are compared with, if any.
        published: rows of others to put below the scores on the test.

    Returns:
        The text of ``table.md``.

    Raises:
        ValueError: there are no results, or none of the baseline.
    """
    models = _models_of(results, output)
    sections = {"Test": score_table(results, "test", published, models)}
    if any(result.other_dev for result in results):
        sections["Dev of the other splits, unseen by the runs of a split"] = score_table(
            results, "other_dev", models=models
        )
    sections["Dev, each split's own, on which models were selected"] = score_table(results, "dev", models=models)
    scored = [part for part in reversed(PARTS) if any(result.score(part) is not None for result in results)]
    for part in scored if baseline else ():
        sections[f"Differences: {TITLES[part]}"] = comparison_table(results, baseline or "", part)
    sections["Cost"] = cost_table(results)
    failures = [f"- {result.key}: {result.error}" for result in results if result.error is not None]
    if failures:
        sections["Failed runs"] = "\n".join(failures) + "\n"
    text = "\n".join(f"## {title}\n\n{section}" for title, section in sections.items())
    _write(text, output, "table.md")
    if find_spec("matplotlib") is not None:
        for part in scored:
            plot_scores(results, Path(output) / f"scores-{part}.svg", part)
    return text


def _models_of(results: Sequence[RunResult], output: str | Path) -> dict[str, str]:
    """Methods to the names of their models, as far as the settings of their runs tell."""
    facts = read_facts(output)
    models: dict[str, list[str]] = {name: ["none"] for name in WITHOUT_MODEL}
    for result in results:
        model = facts.get(result.settings_hash, {}).get("settings", {}).get("model")
        if model is not None and result.method not in WITHOUT_MODEL:
            models.setdefault(result.method, []).append("/".join(Path(model).parts[-2:]))
    return {method: ", ".join(dict.fromkeys(names)) for method, names in models.items()}


def _has(folder: TaskFolder, part: str) -> bool:
    name = folder.layout.test if part == "test" else folder.layout.unlabelled
    return folder.find(name) is not None


def _write(text: str, output: str | Path, name: str) -> None:
    write_text(Path(output) / name, text)
