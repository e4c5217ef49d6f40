"""Results as Markdown tables: scores, differences with their tests, and cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nlpkit.fewshot.grid.results import PARTS, RunResult
from nlpkit.fewshot.tasks.published import SOURCE, PublishedRow
from nlpkit.runs import bootstrap_interval, paired_t, sign_flip

#: Parts by the names that tables and pictures give them.
TITLES = {"dev": "each split's own dev", "other_dev": "dev of the other splits", "test": "test"}


@dataclass(frozen=True)
class Cell:
    """The runs of a method on a task, summed up.

    Args:
        split_scores: split to its score, the mean over its seeds; splits without a score are not in it.
        runs: how many runs there are, failed ones included.
        failed: how many of them failed.
        withheld: how many of them ended without a score, because the part is absent or was left out.
    """

    split_scores: Mapping[int, float]
    runs: int
    failed: int
    withheld: int

    @property
    def mean(self) -> float | None:
        """The mean over splits."""
        return statistics.fmean(self.split_scores.values()) if self.split_scores else None

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over splits; there is none of a single split."""
        return statistics.stdev(self.split_scores.values()) if len(self.split_scores) > 1 else None

    def __str__(self) -> str:
        if self.mean is None:
            return "failed" if self.failed else "withheld" if self.withheld else ""
        lost = f" ({self.failed} of {self.runs} runs failed)" if self.failed else ""
        return _percent(self.mean, self.deviation) + lost


def cells_of(results: Sequence[RunResult], part: str = "test") -> dict[tuple[str, str], Cell]:
    """Sum up results by method and task.

    Args:
        results: one per run.
        part: ``"test"``, ``"other_dev"`` or ``"dev"``.

    Returns:
        Method and task to their cell, in the order in which they first appear.

    Raises:
        ValueError: the part is none of them.

    Example:
        >>> runs = [RunResult("t", "m", split, 0, "1f", dev={"accuracy": 0.5 + split / 10}) for split in (0, 1)]
        >>> str(cells_of(runs, "dev")["m", "t"])
        '55.0 ± 7.1'
    """
    grouped: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        grouped.setdefault((result.method, result.task), []).append(result)
    cells = {}
    for place, runs in grouped.items():
        scores: dict[int, list[float]] = {}
        for run in runs:
            score = run.score(part)
            if score is not None:
                scores.setdefault(run.split, []).append(score)
        failed = sum(run.error is not None for run in runs)
        scored = sum(map(len, scores.values()))
        cells[place] = Cell(
            split_scores={split: statistics.fmean(scores[split]) for split in sorted(scores)},
            runs=len(runs),
            failed=failed,
            withheld=len(runs) - failed - scored,
        )
    return cells


def score_table(
    results: Sequence[RunResult],
    part: str = "test",
    published: Sequence[PublishedRow] = (),
    models: Mapping[str, str] | None = None,
) -> str:
    """Methods by tasks: mean and standard deviation over splits, in percent.

    Args:
        results: one per run.
        part: ``"test"``, ``"other_dev"`` or ``"dev"``.
        published: rows of others to put below, named with their model.
        models: methods to the name of the model that they were run with; of others the column says "measured here".

    Returns:
        A Markdown table; ``score`` is the mean over the tasks, where a method has all of them.

    Raises:
        ValueError: there are no results, or the part is unknown.
    """
    if not results:
        raise ValueError("there are no results to tabulate")
    cells = cells_of(results, part)
    tasks, methods = _names(cells)
    lines = [f"| method | model | score | {' | '.join(tasks)} |", f"| --- | --- | ---: |{' ---: |' * len(tasks)}"]
    for method in methods:
        row = [cells.get((method, task)) for task in tasks]
        means = [cell.mean if cell else None for cell in row]
        shown = " | ".join(str(cell or "") for cell in row)
        lines.append(f"| {method} | {(models or {}).get(method, 'measured here')} | {_mean_of_all(means)} | {shown} |")
    for line in published:
        figures = [line.cells.get(task) for task in tasks]
        means = [figure[0] / 100 if figure else None for figure in figures]
        shown = " | ".join(
            _percent(figure[0] / 100, figure[1] and figure[1] / 100) if figure else "" for figure in figures
        )
        lines.append(f"| *{line.method}* | *published: {line.model}* | {_mean_of_all(means)} | {shown} |")
    notes = [
        f"Percent, {TITLES[part]}; mean ± sample standard deviation over splits (seeds of a split are averaged first)."
    ]
    if published:
        notes.append(f"Rows in italics are others' figures with other, larger models: {SOURCE}.")
    return "\n".join(lines) + "\n\n" + " ".join(notes) + "\n"


def comparison_table(results: Sequence[RunResult], baseline: str, part: str = "test") -> str:
    """Each method against a baseline, paired over the splits that both have.

    Args:
        results: one per run.
        baseline: name of the method to compare with.
        part: ``"test"``, ``"other_dev"`` or ``"dev"``.

    Returns:
        A Markdown table: mean difference in percentage points, its bootstrap interval, and p of the paired t-test and
        of the exact sign-flip test, with the smallest p that the latter can give.

    Raises:
        ValueError: there is no result of the baseline.
    """
    cells = cells_of(results, part)
    tasks, methods = _names(cells)
    if baseline not in methods:
        raise ValueError(f"there is no result of {baseline!r} to compare with; there are {', '.join(methods)}")
    lines = [
        f"| task | method − {baseline} | splits | difference | 95 % bootstrap | t-test p | sign-flip p (smallest) |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for task in tasks:
        for method in methods:
            pair = [cells.get((name, task)) for name in (method, baseline)]
            if method == baseline or pair[0] is None or pair[1] is None:
                continue
            own, other = pair[0].split_scores, pair[1].split_scores
            shared = sorted(set(own) & set(other))
            if len(shared) < 2:
                continue
            first, second = [own[split] for split in shared], [other[split] for split in shared]
            differences = [100 * (one - two) for one, two in zip(first, second, strict=True)]
            low, high = bootstrap_interval(differences)
            flips = sign_flip(first, second)
            lines.append(
                f"| {task} | {method} | {len(shared)} | {statistics.fmean(differences):+.1f} "
                f"| {low:+.1f} to {high:+.1f} | {_p(paired_t(first, second))} "
                f"| {_p(flips.p)} ({_p(flips.resolution)}) |"
            )
    note = (
        "Points of percent; p-values are two-sided and not corrected for the number of comparisons. Splits share "
        "texts and the test, so that they are no independent samples."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def cost_table(results: Sequence[RunResult]) -> str:
    """What the runs took, by method and task: medians over those that ended.

    Args:
        results: one per run.

    Returns:
        A Markdown table of seconds to train and select, texts predicted per second, and peak memory of the process.
    """
    lines = ["| method | task | runs | seconds per run | texts/s predicted | peak memory, MB |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    grouped: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        if result.error is None:
            grouped.setdefault((result.method, result.task), []).append(result)
    for (method, task), runs in grouped.items():
        speeds = [
            sum(run.sizes.get(part, 0) for part in PARTS) / run.predict_seconds for run in runs if run.predict_seconds
        ]
        speed = f"{statistics.median(speeds):.0f}" if speeds else ""
        seconds = statistics.median(run.seconds for run in runs)
        memory = statistics.median(run.peak_rss_mb for run in runs)
        lines.append(f"| {method} | {task} | {len(runs)} | {seconds:.1f} | {speed} | {memory:.0f} |")
    return "\n".join(lines) + "\n"


def _names(cells: Mapping[tuple[str, str], Cell]) -> tuple[list[str], list[str]]:
    tasks = list(dict.fromkeys(task for _, task in cells))
    return tasks, list(dict.fromkeys(method for method, _ in cells))


def _percent(mean: float, deviation: float | None) -> str:
    return f"{100 * mean:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else "")


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


def _mean_of_all(means: Sequence[float | None]) -> str:
    there = [mean for mean in means if mean is not None]
    return f"{100 * statistics.fmean(there):.1f}" if len(there) == len(means) else ""
