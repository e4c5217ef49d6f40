"""What recipes/ladder_finetune.py found: a line a run, a table, and a picture of score against training time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev
from typing import Any

SCORED = ("dev", "test")
Results = list[dict[str, Any]]


def write_report(results: Results, output: Path) -> None:
    """Write ``results.jsonl``, ``table.md`` and, where matplotlib is installed, ``quality.svg``."""
    write_text("".join(json.dumps(result) + "\n" for result in results), output / "results.jsonl")
    write_text(quality_table(results), output / "table.md")
    if find_spec("matplotlib") is not None:
        plot_quality(results, output / "quality.svg")


def quality_table(results: Results) -> str:
    """Mean and deviation of each method's scores as a Markdown table, beside their share of full fine-tuning's."""
    by_method = by_name(results)
    parts = [part for part in SCORED if part in results[0]]
    names = [name for part in parts for name in (f"{part} {results[0]['metric']}", "of full")]
    lines = [
        f"| method | trained parameters | runs | {' | '.join(names)} | training, seconds |",
        f"| --- | ---: | ---: |{' ---: |' * len(names)} ---: |",
    ]
    for method, runs in by_method.items():
        cells = []
        for part in parts:
            scores = [100 * result[part] for result in runs]
            cells.append(f"{mean(scores):.2f} ± {spread(scores):.2f}")
            full = 100 * mean(result[part] for result in by_method["full"]) if "full" in by_method else 0.0
            cells.append(f"{mean(scores) / full:.1%}" if full else "")
        seconds = mean(result["train_seconds"] for result in runs)
        lines.append(
            f"| {method} | {runs[0]['trained_parameters']:,} | {len(runs)} | {' | '.join(cells)} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def plot_quality(results: Results, path: Path) -> None:
    """Draw each method's mean score, with its deviation, over its mean training time, as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    part = next(part for part in reversed(SCORED) if part in results[0])
    # Without the salt and the date the same results give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "nlpkit"}):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for number, (method, runs) in enumerate(by_name(results).items()):
            scores = [100 * result[part] for result in runs]
            seconds = mean(result["train_seconds"] for result in runs)
            marker = "o" if method.startswith("ladder") else "s"
            axes.errorbar(
                seconds, mean(scores), spread(scores), fmt=marker, color=f"C{number}", capsize=3, label=method
            )
        axes.set_xscale("log")
        axes.set_xlabel("training, seconds")
        axes.set_ylabel(f"{results[0]['metric']} on {part}, %")
        axes.grid(alpha=0.3, which="both")
        figure.legend(loc="outside right upper", fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None})


def by_name(results: Results) -> dict[str, Results]:
    """The runs of each method."""
    methods: dict[str, Results] = {}
    for result in results:
        methods.setdefault(result["method"], []).append(result)
    return methods


def spread(scores: Iterable[float]) -> float:
    """The deviation of a sample; 0 for a single score."""
    values = list(scores)
    return stdev(values) if len(values) > 1 else 0.0


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, "utf-8")
    draft.replace(path)
