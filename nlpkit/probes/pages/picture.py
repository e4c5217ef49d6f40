"""Positions by layer and by marks, as a picture; and models side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from nlpkit.pictures import picture
from nlpkit.probes.positions.constant_texts import MARKS
from nlpkit.probes.positions.identifiability import TITLES, PositionCase, PositionReport


def plot_positions(
    reports: Mapping[str, PositionReport], path: str | Path, *, layers_of: Collection[str] | None = None
) -> None:
    """Draw how far positions differ, by marks, and how well a linear probe finds them, layer by layer.

    Args:
        reports: by what they are called; a line and a row of dots for each of their stacks.
        path: the file, see ``nlpkit.pictures.picture``; the same reports give the same file.
        layers_of: the reports of which layers are drawn; by default all.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: no reports, or the kind of picture is unknown.
    """
    if not reports:
        raise ValueError("no reports to draw")
    stacks = {key: cases for name, report in reports.items() for key, cases in _stacks(name, report).items()}
    followed = {
        key: cases
        for name, report in reports.items()
        if layers_of is None or name in layers_of
        for key, cases in _stacks(name, report).items()
    }
    with picture(path, stacks) as figure:
        figure.set_size_inches(10, 1.6 + 0.3 * max(len(stacks), 6))
        gaps, layers = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_gaps(gaps, stacks)
        for name, cases in followed.items():
            accuracies = cases[0].layers
            layers.plot(range(len(accuracies)), [100 * one for one in accuracies], marker=".", label=name)
        layers.axhline(100 / next(iter(reports.values())).length, color="grey", linestyle=":", label="chance")
        layers.set_xlabel("layer, 0 is the embeddings")
        layers.set_ylabel("% of positions that a linear probe finds")
        layers.set_ylim(0, 104)
        layers.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.07))


def _stacks(name: str, report: PositionReport) -> dict[str, list[PositionCase]]:
    return {
        name if stack == "model" else f"{name}, {stack}": [report.case(kind, stack) for kind in MARKS]
        for stack in dict.fromkeys(case.stack for case in report.cases)
    }


def _draw_gaps(axes: object, stacks: Mapping[str, list[PositionCase]]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    places = np.arange(len(stacks))
    for number, kind in enumerate(MARKS):
        shift = 0.15 * (number - 1.5)
        gaps = [max(cases[number].gap, 1e-16) for cases in stacks.values()]
        axes.plot(gaps, places + shift, "osv^"[number], markersize=5, label=TITLES[kind])
    for place, cases in zip(places, stacks.values(), strict=True):
        axes.plot([1e-16, cases[0].noise], [place, place], color="lightgrey", linewidth=9, zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(1e-16, 30)
    axes.set_yticks(places, list(stacks))
    axes.invert_yaxis()
    axes.set_xlabel("largest difference between positions (grey: rounding)")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.68, 0.98))  # where nothing falls
