"""Techniques of which the last one only would act."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.training import (
    EMA,
    FGM,
    SWA,
    AuxiliaryLosses,
    Probes,
    ScheduledStrength,
    Technique,
    Unfreezing,
    linear_strength,
)
from tests.training.runs import trainer


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (EMA(), EMA(0.9), "EMA beside EMA: only one average can be in the model; leave one of them out"),
        (EMA(), SWA(), "EMA beside SWA: only one average"),
        (Unfreezing(), Unfreezing(2.0), "Unfreezing beside Unfreezing: blocks are frozen by one plan"),
        (Probes(), Probes(), "Probes beside Probes: what probe is given goes to one"),
        (AuxiliaryLosses(), AuxiliaryLosses(2.0), "AuxiliaryLosses beside .*: what add_loss is given goes to one"),
    ],
)
def test_two_that_overwrite_one_thing_are_refused(
    tmp_path: Path, first: Technique, second: Technique, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, [first, second])
    second.weight = 0.0
    trainer(tmp_path, [first, second])


def test_two_schedules_of_one_number_are_refused(tmp_path: Path) -> None:
    adversary = FGM()
    schedules = [ScheduledStrength(adversary, name, linear_strength(0.0, 1.0)) for name in ("weight", "epsilon")]
    trainer(tmp_path, [adversary, *schedules])
    again = ScheduledStrength(adversary, "weight", linear_strength(1.0, 0.0))
    with pytest.raises(ValueError, match=r"ScheduledStrength: two of them set fgm.weight"):
        trainer(tmp_path, [adversary, *schedules, again])
