"""How often points are neighbours, before and after, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from nlpkit.pictures import picture
from nlpkit.tasks.similarity.retrieval.hubness import HubnessReport


def plot_occurrences(reports: Mapping[str, HubnessReport], path: str | Path) -> None:
    """Draw how many points are neighbours how often, a line for each report.

    Args:
        reports: by what they are called, of the same ``k``.
        path: the file, see ``nlpkit.pictures.picture``; the same reports give the same file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: no reports, or of different ``k``.
    """
    if len(kinds := {report.k for report in reports.values()}) != 1:
        raise ValueError(f"reports of k {sorted(kinds)} cannot be compared: give some of one k")
    (k,) = kinds
    most = max(int(report.occurrences.max()) for report in reports.values())
    # Counts grow by powers of 2, with 0, the antihubs, apart from them.
    edges = np.array([0, *(2**power for power in range(most.bit_length() + 1))])
    spans = pairwise(edges[1:].tolist())
    names = ["0", *(str(low) if high - low == 1 else f"{low}-{high - 1}" for low, high in spans)]
    with picture(path, reports) as figure:
        figure.set_size_inches(7.2, 3.8)
        axes = figure.subplots()
        width = 0.8 / len(reports)
        for number, (name, report) in enumerate(reports.items()):
            shares = 100 * np.histogram(report.occurrences, edges)[0] / len(report.occurrences)
            places = np.arange(len(shares)) + (number - (len(reports) - 1) / 2) * width
            axes.bar(places, shares, width, label=f"{name}: skewness {report.skewness:.1f}")
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel(f"times among the {k} nearest of another point")
        axes.set_ylabel("% of the points")
        axes.legend(frameon=False)
