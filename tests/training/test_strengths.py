"""Numbers that make no sense as strengths of techniques."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from nlpkit.training import (
    EMA,
    FGM,
    PGD,
    SWA,
    AuxiliaryLosses,
    Flooding,
    FreeLB,
    GradientPenalty,
    ImplicitGradient,
    LayerRates,
    MeZO,
    RDrop,
    ScheduledStrength,
    SelfCritical,
    Unfreezing,
    VirtualAdversarial,
    WeightScaleInvariant,
)
from tests.training.runs import trainer


def critical(**settings: Any) -> SelfCritical:
    return SelfCritical(lambda samples, batch: samples.sum(1).float(), **settings)


def invariant(**settings: Any) -> WeightScaleInvariant:
    return WeightScaleInvariant(parameters=["classifier.weight"], **settings)


def flooding(**settings: Any) -> Flooding:
    return Flooding(**({"level": 0.1} | settings))


#: What makes a technique, and its numbers, each with one that is out of its range.
NUMBERS: list[tuple[Any, dict[str, float]]] = [
    (RDrop, {"weight": -1.0}),
    (FGM, {"epsilon": -0.02, "weight": -1.0}),
    (PGD, {"epsilon": -0.02, "weight": -1.0, "steps": 0, "step_size": -0.1}),
    (FreeLB, {"epsilon": -0.02, "weight": -1.0, "steps": 0, "step_size": 0.0}),
    (VirtualAdversarial, {"weight": -1.0, "epsilon": -1.0, "xi": 0.0, "iterations": -1}),
    (GradientPenalty, {"weight": -1.0, "delta": 0.0}),
    (ImplicitGradient, {"weight": -1.0, "delta": -1e-4}),
    (flooding, {"weight": -1.0, "level": math.inf}),
    (invariant, {"weight": -1.0, "l1": -1.0, "l2": -1.0, "floor": 0.0}),
    (critical, {"weight": -1.0, "samples": 0, "task_weight": -1.0, "max_new_tokens": 0}),
    (AuxiliaryLosses, {"weight": -1.0}),
    (MeZO, {"epsilon": 0.0, "directions": 0}),
    (EMA, {"decay": 1.0}),
    (SWA, {"start": 1.0, "every": 0}),
    (LayerRates, {"decay": 0.0, "head_rate": -1.0}),
    (Unfreezing, {"every": 0.0}),
]


@pytest.mark.parametrize(
    ("make", "name", "number"),
    [(make, name, number) for make, numbers in NUMBERS for name, number in numbers.items()],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_numbers_out_of_range_and_nan_are_told_by_name(make: Any, name: str, number: float) -> None:
    with pytest.raises(ValueError, match=rf"{name}={number}"):
        make(**{name: number})
    with pytest.raises((ValueError, TypeError), match=rf"{name}=nan"):
        make(**{name: math.nan})


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_a_baseline_over_samples_needs_two(baseline: Any) -> None:
    with pytest.raises(ValueError, match=r"SelfCritical: samples=1: give a whole number at least 2; the baseline"):
        critical(samples=1, baseline=baseline)
    critical(samples=1, baseline="greedy")
    with pytest.raises(ValueError, match=r"baseline='best' is none of leave_one_out, mean, greedy, none"):
        critical(baseline="best")


def test_a_schedule_that_gives_no_number_is_told(tmp_path: Path) -> None:
    technique = RDrop(dropout=0.1)
    later = ScheduledStrength(technique, "weight", lambda progress: math.nan if progress >= 0.5 else 1.0)
    with pytest.raises(ValueError, match=r"r_drop\.weight=nan: .*; the schedule gave it at progress 0\.5"):
        trainer(tmp_path, [technique, later]).train()
