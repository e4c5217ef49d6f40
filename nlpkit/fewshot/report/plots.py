"""Scores as a picture: a panel per task, a box per method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nlpkit.fewshot.grid.results import RunResult
from nlpkit.fewshot.report.tables import TITLES, cells_of
from nlpkit.pictures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A dot for each split lies over its box, spread by this much to either side.
_SPREAD = 0.12


def plot_scores(results: Sequence[RunResult], path: str | Path, part: str = "test") -> Path:
    """Draw a box over the splits for every method, in one panel per task, and a dot for every split.

    Args:
        results: one per run; tasks without any score of that part get no panel.
        path: the picture to write: ``.png``, ``.svg`` or ``.pdf``. In SVG, names stay text, which is drawn with the
            viewer's fonts.
        part: ``"test"``, ``"other_dev"`` or ``"dev"``.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: nothing has a score, the kind of picture is unknown, or, unless it is SVG, no installed font has
            the characters of a name; Chinese names need a Chinese font, e.g. Noto Sans CJK.
    """
    scores = {place: list(cell.split_scores.values()) for place, cell in cells_of(results, part).items()}
    scores = {place: values for place, values in scores.items() if values}
    if not scores:
        raise ValueError(f"none of {len(results)} results has a score on {part}")
    with picture(path, [name for place in scores for name in place]) as figure:
        _draw(figure, scores, part)
    return Path(path)


def _draw(figure: Figure, scores: dict[tuple[str, str], list[float]], part: str) -> None:
    tasks = list(dict.fromkeys(task for _, task in scores))
    methods = list(dict.fromkeys(method for method, _ in scores))
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure.set_size_inches(1.2 + columns * (1.2 + 0.45 * len(methods)), 0.6 + 2.6 * rows)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(rows, columns, number + 1)
        for place, method in enumerate(methods):
            values = [100 * value for value in scores.get((method, task), [])]
            if not values:
                continue
            colour = f"C{place % 10}"
            box = axes.boxplot([values], positions=[place], widths=0.6, patch_artist=True, showfliers=False)
            box["boxes"][0].set(facecolor=colour, alpha=0.35)
            box["medians"][0].set(color=colour, linewidth=2)
            middle = (len(values) - 1) / 2
            spread = [place + _SPREAD * (index - middle) / max(middle, 1) for index in range(len(values))]
            axes.plot(spread, values, "o", color=colour, markersize=3)
        axes.set_title(task, fontsize=10)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_xticks(range(len(methods)), methods, rotation=40, ha="right", fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", alpha=0.3)
    figure.supylabel(f"score on {TITLES[part]}, %", fontsize=10)
