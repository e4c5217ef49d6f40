"""What arms of a comparison show beside plain training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.runs import arm_table, effects, paired_t, plot_effects, t_interval

SCORES = {"base": (0.5, 0.6), "base x2": (0.6, 0.7), "fgm": (0.6, 0.8), "pgd": (0.5, 0.6)}
PASSES = {"fgm": 2, "pgd": 4}


def runs(scores: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "arm": arm,
            "seed": seed,
            "steps": 20 if arm == "base x2" else 10,
            "passes": PASSES.get(arm, 1),
            "accuracy": value,
            "F1": value / 2,
        }
        for arm, values in scores.items()
        for seed, value in enumerate(values)
    ]


def test_arms_are_compared_at_equal_steps_and_at_equal_compute() -> None:
    assert arm_table(runs(SCORES), ["accuracy", "F1"]).splitlines() == [
        "| arm | passes | steps | runs | accuracy | F1 | beside base | at equal compute |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| base | 1 | 10 | 2 | 55.00 ± 7.07 | 27.50 ± 3.54 |  |  |",
        "| base x2 | 1 | 20 | 2 | 65.00 ± 7.07 | 32.50 ± 3.54 | +10.00 (p = 0.000) |  |",
        "| fgm | 2 | 10 | 2 | 70.00 ± 14.14 | 35.00 ± 7.07 | +15.00 (p = 0.205) | +5.00 (p = 0.500) |",
        "| pgd | 4 | 10 | 2 | 55.00 ± 7.07 | 27.50 ± 3.54 | +0.00 (p = 1.000) |  |",
    ]


def test_one_seed_shows_no_difference() -> None:
    one = runs({"base": (0.5,), "fgm": (0.6,)})
    assert arm_table(one, ["accuracy"]).splitlines()[-1] == "| fgm | 2 | 10 | 1 | 60.00 |  |  |"
    assert effects(one, "accuracy") == {}


def test_seeds_are_paired_by_their_number_and_those_of_one_arm_alone_left_out() -> None:
    found = runs({"base": (0.5, 0.6, 0.7), "fgm": (0.9, 0.8)})
    assert effects(found[::-1], "accuracy")["fgm"].mean == pytest.approx(30)
    assert effects(found, "accuracy") == effects(sorted(found, key=lambda run: -run["seed"]), "accuracy")


def test_effects_are_those_at_equal_compute_where_that_was_run() -> None:
    found = effects(runs(SCORES), "accuracy")
    assert {arm: round(effect.mean, 6) for arm, effect in found.items()} == {"base x2": 10, "fgm": 5, "pgd": 0}
    ours, theirs = [60.0, 80.0], [60.0, 70.0]
    assert found["fgm"][1:] == pytest.approx((*t_interval(ours, theirs), paired_t(ours, theirs)))


def test_effects_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    groups = {"新闻": effects(runs(SCORES), "accuracy"), "F1 of apps": effects(runs(SCORES), "F1")}
    drawn = []
    for _ in range(2):
        plot_effects(groups, tmp_path / "effects.svg")
        drawn.append((tmp_path / "effects.svg").read_text("utf-8"))
    assert drawn[0] == drawn[1]
    assert all(text in drawn[0] for text in ("新闻", "F1 of apps", "fgm", "base x2"))


def test_an_effect_far_from_all_others_stands_at_the_border_with_its_number(tmp_path: Path) -> None:
    scores = {"base": (0.50, 0.52), "a": (0.51, 0.54), "b": (0.50, 0.53), "c": (0.49, 0.52), "d": (0.02, 0.03)}
    plot_effects({"apps": effects(runs(scores), "accuracy")}, tmp_path / "effects.svg")
    drawn = (tmp_path / "effects.svg").read_text("utf-8")
    assert "−48.5" in drawn or "-48.5" in drawn
    assert "−50" not in drawn, "the axis is that of the others"
