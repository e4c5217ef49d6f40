"""Pictures of exposure bias: losses by position, and what a way of training gains at each beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from nlpkit.pictures import picture
from nlpkit.runs import t_interval
from nlpkit.teaforn.exposure import Exposure

#: Scores of one seed each, by beam.
Scores = Mapping[int, Sequence[float]]


def plot_exposure(found: Mapping[str, Exposure], path: str | Path) -> None:
    """Draw losses by position, after right tokens and after a model's own.

    Args:
        found: as ``measure_exposure`` returns it, by the name of a way of training.
        path: the file; the same figures give the same file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: there is nothing to draw.
    """
    if not found:
        raise ValueError("found is empty: give at least one measured model")
    with picture(path, found) as figure:
        figure.set_size_inches(6.4, 3.6)
        axes = figure.subplots()
        for number, (name, one) in enumerate(found.items()):
            places = range(1, len(one.rows) + 1)
            axes.plot(places, one.own, color=f"C{number % 10}", label=f"{name}, gap {one.gap:.2f}")
            axes.plot(places, one.gold, color=f"C{number % 10}", linestyle="--", linewidth=1)
        locator: Any = axes.xaxis.get_major_locator()
        locator.set_params(integer=True)
        axes.set_xlabel("token of the target", fontsize=8)
        axes.set_ylabel("nats of the right token", fontsize=8)
        axes.set_title("after own tokens (lines) and after right ones (dashes)", fontsize=9, loc="left")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)


def plot_gain_by_beam(scores: Mapping[str, Scores], path: str | Path, *, baseline: str = "base") -> None:
    """Draw what ways of training gain on teacher forcing at each beam, with 95 % intervals where seeds are several.

    Args:
        scores: of the same seeds in the same order, by way of training and beam.
        path: the file; the same figures give the same file.
        baseline: teacher forcing.

    Raises:
        ModuleNotFoundError: matplotlib or scipy is not installed (the extras ``viz`` and ``eval``).
        ValueError: the baseline is missing, alone, or has other beams or seeds.
    """
    gains = gains_by_beam(scores, baseline)
    with picture(path, scores) as figure:
        figure.set_size_inches(6.4, 3.6)
        axes = figure.subplots()
        for number, (name, by_beam) in enumerate(gains.items()):
            beams = sorted(by_beam)
            at = [beam + 0.06 * (number - (len(gains) - 1) / 2) for beam in beams]
            middle = [mean(by_beam[beam]) for beam in beams]
            axes.plot(at, middle, "o-", color=f"C{number % 10}", label=name, markersize=4)
            for place, beam in zip(at, beams, strict=True):
                if len(by_beam[beam]) > 1:
                    low, high = t_interval(by_beam[beam], [0.0] * len(by_beam[beam]))
                    axes.plot([place, place], [low, high], color=f"C{number % 10}", linewidth=1)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(sorted(next(iter(gains.values()))))
        axes.set_xlabel("beams", fontsize=8)
        axes.set_ylabel(f"difference to {baseline}", fontsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)


def gains_by_beam(scores: Mapping[str, Scores], baseline: str = "base") -> dict[str, dict[int, list[float]]]:
    """Differences to the baseline, seed by seed, at each beam.

    Args:
        scores: as for ``plot_gain_by_beam``.
        baseline: teacher forcing.

    Returns:
        By way of training, without the baseline.

    Raises:
        ValueError: the baseline is missing, alone, or has other beams or seeds.

    Example:
        >>> gains_by_beam({"base": {1: [10.0, 11.0], 3: [12.0, 12.0]}, "TeaForN": {1: [10.5, 11.0], 3: [13.0, 14.0]}})
        {'TeaForN': {1: [0.5, 0.0], 3: [1.0, 2.0]}}
    """
    if baseline not in scores or len(scores) < 2:
        raise ValueError(f"scores are of {', '.join(scores) or 'nothing'}: give {baseline!r}, and others beside it")
    plain = scores[baseline]
    gains: dict[str, dict[int, list[float]]] = {}
    for name, by_beam in scores.items():
        if name == baseline:
            continue
        if {b: len(s) for b, s in by_beam.items()} != {b: len(s) for b, s in plain.items()}:
            raise ValueError(f"{name!r} has not the beams and seeds of {baseline!r}: score the same of both")
        gains[name] = {
            beam: [ours - theirs for ours, theirs in zip(by_beam[beam], plain[beam], strict=True)] for beam in by_beam
        }
    return gains
