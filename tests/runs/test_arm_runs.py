"""Arms are run once with every seed, and what other calls left is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.runs import run_arms


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    ran: list[tuple[str, int]] = []
    reports: list[list[dict[str, Any]]] = []

    def run(arm: str, seed: int, folder: Path) -> dict[str, Any]:
        ran.append((arm, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        assert folder == tmp_path / arm.replace(" ", "-") / f"seed-{seed}"
        return {"score": seed / 2}

    with pytest.raises(KeyboardInterrupt):
        run_arms(["base x2", "fgm=1"], [0, 1], tmp_path, run, reports.append)
    results = run_arms(["base x2", "fgm=1"], [0, 1], tmp_path, run, reports.append)
    assert ran == [("base x2", 0), ("fgm=1", 0), ("base x2", 1), ("base x2", 1), ("fgm=1", 1)]
    assert results == [
        {"arm": arm, "seed": seed, "score": seed / 2} for seed in (0, 1) for arm in ("base x2", "fgm=1")
    ]
    assert [len(report) for report in reports] == [1, 2, 2, 2, 3, 4]
    run_arms(["fgm=1"], [1], tmp_path, run, reports.append)
    assert reports[-1] == [results[3], results[0], results[2], results[1]]


@pytest.mark.parametrize(("arms", "seeds", "told"), [("aba", [0], "arms .* a, b, a"), ("a", [1, 1], "seeds .* 1, 1")])
def test_nothing_is_run_twice(arms: str, seeds: list[int], told: str, tmp_path: Path) -> None:
    def never(*_: object) -> dict[str, Any]:
        raise AssertionError("refused before")

    with pytest.raises(ValueError, match=told.replace(" .* ", " name one twice: ")):
        run_arms(list(arms), seeds, tmp_path, never, print)
