"""Arms of a comparison run with the same seeds: each one's scores, and its difference to plain training, tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

from nlpkit.pictures import picture
from nlpkit.runs.significance import paired_t, t_interval

Result = Mapping[str, Any]


class Effect(NamedTuple):
    """The difference of an arm to another one over the seeds that both have run, in points.

    Attributes:
        mean: of the differences.
        low: end of the 95 % confidence interval of Student's t.
        high: the other end.
        p: of the paired t-test, for this arm alone: of twenty arms without any effect, one is below 0.05.
    """

    mean: float
    low: float
    high: float
    p: float


def arm_table(results: Sequence[Result], columns: Sequence[str], baseline: str = "base") -> str:
    """Means and deviations of arms as a Markdown table, beside their difference to plain training.

    Args:
        results: one per run, with ``arm``, ``seed``, ``steps``, ``passes`` (forward and backward passes of a row in a
            step) and the columns, scores from 0 to 1.
        columns: to show, in percent; the first one is compared.
        baseline: the arm of plain training. ``"<baseline> xn"`` is plain training for n times the steps.

    Returns:
        The table. An arm is compared with the baseline, and with plain training that took as many passes in all. A
        difference is empty where there is nothing to compare, or one seed only.

    Example:
        >>> run = {"passes": 1, "steps": 9}
        >>> base = [{**run, "arm": "base", "seed": seed, "test": 0.5 + seed / 100} for seed in range(3)]
        >>> focal = [{**run, "arm": "focal", "seed": seed, "test": 0.6 + 3 * seed / 100} for seed in range(3)]
        >>> print(arm_table([*base, *focal], ["test"]))
        | arm | passes | steps | runs | test | beside base | at equal compute |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | base | 1 | 9 | 3 | 51.00 ± 1.00 |  |  |
        | focal | 1 | 9 | 3 | 63.00 ± 3.00 | +12.00 (p = 0.009) | +12.00 (p = 0.009) |
        <BLANKLINE>
    """
    arms = by_arm(results)
    head = ["arm", "passes", "steps", "runs", *columns, f"beside {baseline}", "at equal compute"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for arm, runs in arms.items():
        cells = [
            arm,
            f"{runs[0]['passes']:g}",
            f"{runs[0]['steps']}",
            f"{len(runs)}",
            *(_spread([100 * run[column] for run in runs]) for column in columns),
            _difference(arms, arm, baseline, columns[0]),
            _difference(arms, arm, _equal_compute(arms, arm, baseline), columns[0]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def effects(results: Sequence[Result], column: str, baseline: str = "base") -> dict[str, Effect]:
    """What each arm adds to plain training of as many passes, or, where that has not been run, to the baseline.

    Args:
        results: as for ``arm_table``.
        column: to compare.
        baseline: the arm of plain training.

    Returns:
        One by arm, without the baseline.
    """
    arms = by_arm(results)
    found = {arm: _effect(arms, arm, _equal_compute(arms, arm, baseline) or baseline, column) for arm in arms}
    return {arm: effect for arm, effect in found.items() if effect is not None}


def plot_effects(groups: Mapping[str, Mapping[str, Effect]], path: str | Path) -> None:
    """Draw the effects of arms with their intervals, a panel for each group, one under another.

    What lies three times as far from nothing as the middle one of a panel would squeeze all others: it stands at the
    border, with its number.

    Args:
        groups: effects by arm, by the title of their group.
        path: the file; the same effects give the same file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
    """
    sizes = [len(arms) for arms in groups.values()]
    with picture(path, [*groups, *(arm for arms in groups.values() for arm in arms)]) as figure:
        figure.set_size_inches(6.4, 0.6 + sum(0.7 + 0.24 * size for size in sizes))
        panels = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": [s + 1 for s in sizes]})
        for axes, (title, arms) in zip(panels[:, 0], groups.items(), strict=True):
            reach = 3 * median(max(abs(effect.low), abs(effect.high)) for effect in arms.values())
            for place, effect in enumerate(arms.values()):
                clear = effect.low > 0 or effect.high < 0
                color = "C0" if effect.low > 0 else "C3" if clear else "0.5"
                if 0 < reach < abs(effect.mean):
                    side, marker, align = (1, ">", "right") if effect.mean > 0 else (-1, "<", "left")
                    axes.plot(side * reach, place, marker, color=color, markersize=6)
                    axes.annotate(
                        f"{effect.mean:+.3g}",
                        (side * reach, place),
                        (-8 * side, 0),
                        textcoords="offset points",
                        ha=align,
                        va="center",
                        fontsize=8,
                    )
                    continue
                axes.plot([effect.low, effect.high], [place, place], color=color, linewidth=2)
                axes.plot(effect.mean, place, "o", color=color, markersize=5)
            axes.set_yticks(range(len(arms)), list(arms), fontsize=8)
            axes.set_ylim(len(arms) - 0.4, -0.6)
            axes.axvline(0, color="black", linewidth=0.8)
            axes.grid(alpha=0.3, axis="x")
            axes.set_title(title, fontsize=9, loc="left")
        panels[-1, 0].set_xlabel("difference to plain training, points, with 95 % intervals", fontsize=8)


def by_arm(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Runs of each arm, in the order of their seeds.

    Args:
        results: one per run, with ``arm`` and ``seed``.

    Returns:
        The runs; arms in the order of their first one.
    """
    arms: dict[str, list[Result]] = {}
    for result in results:
        arms.setdefault(result["arm"], []).append(result)
    return {arm: sorted(runs, key=lambda run: run["seed"]) for arm, runs in arms.items()}


def _equal_compute(arms: Mapping[str, Sequence[Result]], arm: str, baseline: str) -> str:
    """The arm of plain training that takes as many passes in all as another arm, or nothing."""
    plain = (name for name in arms if name == baseline or name.startswith(f"{baseline} x"))
    return next((name for name in plain if name != arm and _passes(arms[name]) == _passes(arms[arm])), "")


def _passes(runs: Sequence[Result]) -> float:
    return float(runs[0]["passes"] * runs[0]["steps"])


def _effect(arms: Mapping[str, Sequence[Result]], arm: str, other: str, column: str) -> Effect | None:
    ours = {run["seed"]: 100 * run[column] for run in arms[arm]}
    theirs = {run["seed"]: 100 * run[column] for run in arms.get(other, ())}
    seeds = sorted(ours.keys() & theirs.keys())
    if arm == other or len(seeds) < 2:
        return None
    first, second = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    return Effect(mean(first) - mean(second), *t_interval(first, second), paired_t(first, second))


def _difference(arms: Mapping[str, Sequence[Result]], arm: str, other: str, column: str) -> str:
    effect = _effect(arms, arm, other, column)
    return "" if effect is None else f"{effect.mean:+.2f} (p = {effect.p:.3f})"


def _spread(values: Sequence[float]) -> str:
    """Mean and deviation of a sample."""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
