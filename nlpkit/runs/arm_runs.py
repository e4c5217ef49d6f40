"""Arms of a comparison, each run with every seed; what was finished is read, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nlpkit.files import read_json, write_json

Row = dict[str, Any]


def run_arms(
    arms: Sequence[str],
    seeds: Sequence[int],
    output: str | Path,
    run: Callable[[str, int, Path], Row],
    report: Callable[[list[Row]], None],
) -> list[Row]:
    """Run every arm with every seed, one seed after the other, and keep each result as soon as there is one.

    Args:
        arms: their names, which may hold spaces and strengths.
        seeds: one run each, of each arm.
        output: a folder; results are its ``<arm>/seed-<seed>/result.json``.
        run: makes the result of an arm and a seed, as JSON values, and may keep what else it makes in the folder that
            it is given; it is called where there is no result yet.
        report: called after every run with the results so far: those of this call, and behind them those that earlier
            calls left, of other arms or seeds.

    Returns:
        The results of these arms and seeds, each with ``arm`` and ``seed``.

    Raises:
        ValueError: an arm or a seed is named twice, which would make deviations too small.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = run_arms(["base"], [0], folder, lambda arm, seed, place: {"score": 1}, report=print)
        ...     _ = run_arms(["fgm=0.1"], [0], folder, lambda arm, seed, place: {"score": 2}, report=print)
        [{'arm': 'base', 'seed': 0, 'score': 1}]
        [{'arm': 'fgm=0.1', 'seed': 0, 'score': 2}, {'arm': 'base', 'seed': 0, 'score': 1}]
    """
    for kind, named in (("arms", arms), ("seeds", seeds)):
        if len(set(named)) < len(named):
            raise ValueError(f"{kind} name one twice: {', '.join(map(str, named))}")
    results: list[Row] = []
    for seed in seeds:
        for arm in arms:
            folder = Path(output) / arm.replace(" ", "-") / f"seed-{seed}"
            if not (folder / "result.json").is_file():
                write_json(folder / "result.json", {"arm": arm, "seed": seed, **run(arm, seed, folder)})
            results.append(read_json(folder / "result.json"))
            report(_with_earlier(results, Path(output)))
    return results


def _with_earlier(results: list[Row], output: Path) -> list[Row]:
    known = {(result["arm"], result["seed"]) for result in results}
    found = [read_json(file) for file in sorted(output.glob("*/seed-*/result.json"))]
    return [*results, *(result for result in found if (result["arm"], result["seed"]) not in known)]
