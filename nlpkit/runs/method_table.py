"""Methods run with several seeds each, side by side: a table of means and deviations, and score against time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nlpkit.pictures import picture

Result = Mapping[str, Any]


def method_table(results: Sequence[Result], parts: Sequence[str], baseline: str) -> str:
    """Mean and deviation of each method's scores as a Markdown table, beside their share of the baseline's.

    Args:
        results: one per run, with ``method``, ``metric``, ``trained_parameters``, ``train_seconds`` and, under the
            name of each part, a score from 0 to 1; perhaps ``predict_seconds``, ``activation_bytes``, kept for a
            backward pass, and ``train_cpu_seconds``, what the processor worked, which other work does not change: if
            all runs have it, it is shown in place of ``train_seconds``.
        parts: the parts to show; those without scores are left out.
        baseline: method of which the shares are.

    Returns:
        The table; deviations are of samples, and left out where there is a single run.

    Example:
        >>> run = {"metric": "accuracy", "trained_parameters": 1000, "train_seconds": 2.0}
        >>> results = [{**run, "method": "full", "dev": 0.8}, {**run, "method": "head", "dev": 0.6}]
        >>> print(method_table(results, ["dev", "test"], baseline="full"))
        | method | trained parameters | runs | dev accuracy | of full | training, seconds |
        | --- | ---: | ---: | ---: | ---: | ---: |
        | full | 1,000 | 1 | 80.00 | 100.0% | 2 |
        | head | 1,000 | 1 | 60.00 | 75.0% | 2 |
        <BLANKLINE>
    """
    methods = _by_method(results)
    shown = [part for part in parts if part in results[0]]
    names = [name for part in shown for name in (f"{part} {results[0]['metric']}", f"of {baseline}")]
    has_memory, has_prediction = "activation_bytes" in results[0], "predict_seconds" in results[0]
    of_training, training = _training_time(results)
    names += [training, *["prediction, seconds"] * has_prediction, *["activations, MiB"] * has_memory]
    lines = [
        f"| method | trained parameters | runs | {' | '.join(names)} |",
        f"| --- | ---: | ---: |{' ---: |' * len(names)}",
    ]
    for method, runs in methods.items():
        cells = []
        for part in shown:
            centre, deviation = _percent(runs, part)
            whole = _percent(methods[baseline], part)[0] if baseline in methods else 0.0
            spread = f" ± {deviation:.2f}" if len(runs) > 1 else ""
            cells += [f"{centre:.2f}{spread}", f"{centre / whole:.1%}" if whole else ""]
        cells.append(f"{mean(run[of_training] for run in runs):.0f}")
        if has_prediction:
            cells.append(f"{mean(run['predict_seconds'] for run in runs):.1f}")
        if has_memory:
            cells.append(f"{mean(run['activation_bytes'] for run in runs) / 2**20:.1f}")
        trained = runs[0]["trained_parameters"]
        lines.append(f"| {method} | {trained:,} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot_methods(results: Sequence[Result], part: str, path: str | Path) -> None:
    """Draw each method's mean score, with its deviation, over its mean training time and what it keeps, as SVG.

    Args:
        results: as for ``method_table``; memory is drawn where all runs have ``activation_bytes``.
        part: whose scores.
        path: the file; the same results give the same file.

    Raises:
        ImportError: matplotlib is not installed (the extra ``viz``).
    """
    methods = _by_method(results)
    of_training, training = _training_time(results)
    costs = {training: {name: mean(run[of_training] for run in runs) for name, runs in methods.items()}}
    if all("activation_bytes" in result for result in results):
        kept = {name: mean(run["activation_bytes"] for run in runs) / 2**20 for name, runs in methods.items()}
        costs["activations kept for a step, MiB"] = kept
    with picture(path, methods) as figure:
        figure.set_size_inches(3.2 + 3.2 * len(costs), 3.8)
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for axes, (name, cost) in zip(panels, costs.items(), strict=True):
            _draw_scores(axes, methods, part, cost)
            axes.set_xlabel(name)
        figure.axes[0].set_ylabel(f"{results[0]['metric']} on {part}, %")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)


def _draw_scores(axes: Any, methods: Mapping[str, Sequence[Result]], part: str, cost: Mapping[str, float]) -> None:
    """Scores over what they cost, and the line of those that nothing cheaper is as good as."""
    scores = {method: _percent(runs, part) for method, runs in methods.items()}
    for number, (method, (centre, deviation)) in enumerate(scores.items()):
        axes.errorbar(cost[method], centre, deviation, fmt="o", color=f"C{number}", capsize=3, label=method)
    best = frontier({method: (cost[method], centre) for method, (centre, _) in scores.items()})
    axes.plot(*zip(*best.values(), strict=True), color="0.6", linewidth=1, zorder=0, label="frontier")
    axes.set_xscale("log")
    axes.set_xticks(_round_numbers(cost.values()), labels=[f"{tick:g}" for tick in _round_numbers(cost.values())])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)


def _round_numbers(values: Iterable[float]) -> list[float]:
    """1, 2 and 5 times powers of ten around the values above 0, for a logarithmic axis."""
    found = sorted(value for value in values if value > 0)
    if not found:
        return []
    powers = range(floor(log10(found[0])) - 1, floor(log10(found[-1])) + 2)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = max((tick for tick in ticks if tick <= found[0]), default=ticks[0])
    last = min((tick for tick in ticks if tick >= found[-1]), default=ticks[-1])
    return [tick for tick in ticks if first <= tick <= last]


def frontier(points: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The methods that no other is both as quick as and better than, the quickest first.

    Args:
        points: seconds and score of each method.

    Returns:
        Those of them.

    Example:
        >>> list(frontier({"full": (9.0, 80.0), "lora": (9.5, 79.0), "ladder": (1.0, 75.0)}))
        ['ladder', 'full']
    """
    found: dict[str, tuple[float, float]] = {}
    for method, (seconds, score) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if all(score > other for _, other in found.values()):
            found[method] = (seconds, score)
    return found


def _training_time(results: Sequence[Result]) -> tuple[str, str]:
    """Which figure is the time of training, and what a table calls it."""
    if all("train_cpu_seconds" in result for result in results):
        return "train_cpu_seconds", "training, processor seconds"
    return "train_seconds", "training, seconds"


def _by_method(results: Sequence[Result]) -> dict[str, list[Result]]:
    methods: dict[str, list[Result]] = {}
    for result in results:
        methods.setdefault(result["method"], []).append(result)
    return methods


def _percent(runs: Sequence[Result], part: str) -> tuple[float, float]:
    """Mean and deviation of a sample of scores."""
    scores = [100 * run[part] for run in runs]
    return mean(scores), stdev(scores) if len(scores) > 1 else 0.0
