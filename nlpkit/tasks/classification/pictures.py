"""How sure and how right answers are, and what becomes of rare classes, as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nlpkit.pictures import picture
from nlpkit.tasks.classification.calibration import Reliability
from nlpkit.tasks.classification.known_answers import Numbers, as_tensor
from nlpkit.tasks.classification.long_tail import checked_counts


def plot_reliability(panels: Mapping[str, Mapping[str, Reliability]], path: str | Path) -> None:
    """Draw accuracy over confidence, a panel for each model; below the diagonal a model is too sure.

    Args:
        panels: curves by their names, before and after a temperature for example, by the title of their panel. The
            area of a dot is the share of answers in its bin.
        path: the file, see ``nlpkit.pictures.picture``; the same curves give the same file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: there are no panels.
    """
    if not panels:
        raise ValueError("there are no panels to draw: give curves by name, by the title of their panel")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    with picture(path, [*panels, *(name for curves in panels.values() for name in curves)]) as figure:
        figure.set_size_inches(0.6 + 2.6 * columns, 0.5 + 2.7 * rows)
        for number, (title, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
            for name, found in curves.items():
                label = f"{name}: {100 * found.error:.1f}"
                (line,) = axes.plot(found.confidence, found.accuracy, linewidth=1, label=label)
                axes.scatter(
                    found.confidence,
                    found.accuracy,
                    80 * (found.sizes / found.sizes.sum()).sqrt(),
                    color=line.get_color(),
                )
            axes.set_title(title, fontsize=9)
            axes.set_aspect("equal")
            axes.tick_params(labelsize=7)
            axes.legend(title="calibration error, %", title_fontsize=7, fontsize=7, frameon=False, loc="upper left")
        figure.supxlabel("confidence", fontsize=9)
        figure.supylabel("accuracy", fontsize=9)


def plot_by_frequency(
    names: Sequence[str], training_counts: Numbers, scores: Mapping[str, Numbers], path: str | Path, *, what: str
) -> None:
    """Draw the score of every class, from the most frequent one to the rarest, above how often it occurs in training.

    Args:
        names: of the classes.
        training_counts: rows of each.
        scores: fractions of each class, NaN where there is none, by the name of what was scored.
        path: the file, see ``nlpkit.pictures.picture``; the same scores give the same file.
        what: the scores are, ``"recall"`` for example.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: names, counts and scores differ in number.
    """
    counts = checked_counts(training_counts)
    values = {name: as_tensor(name, given) for name, given in scores.items()}
    if sizes := {name: len(given) for name, given in values.items() if len(given) != len(counts)}:
        raise ValueError(f"{len(counts)} classes were counted, but there are scores {sizes}: give one for each class")
    if len(names) != len(counts):
        raise ValueError(f"{len(counts)} classes were counted, but there are {len(names)} names: give one for each")
    order = counts.argsort(descending=True, stable=True)
    places = range(len(counts))
    with picture(path, [*names, *scores, what]) as figure:
        figure.set_size_inches(max(5.0, 1.5 + 0.16 * len(counts)), 4.2)
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
        for number, (name, given) in enumerate(values.items()):
            above.plot(places, 100 * given[order], "osD^vPX*"[number % 8], markersize=4, alpha=0.7, label=name)
        above.set_ylabel(f"{what}, %", fontsize=9)
        above.set_ylim(-3, 103)
        above.grid(alpha=0.3, axis="y")
        figure.legend(loc="outside upper right", ncols=4, fontsize=8, frameon=False)
        below.bar(places, counts[order], color="0.6")
        below.set_yscale("log")
        below.set_ylim(bottom=0.5)
        below.set_ylabel("rows in training", fontsize=9)
        below.set_xticks(places, [names[place] for place in order.tolist()], rotation=90, fontsize=6)
