"""Numbers of techniques that follow the progress of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.losses import CrossEntropyLoss
from nlpkit.training import (
    FGM,
    RDrop,
    ScheduledStrength,
    Technique,
    cosine_strength,
    linear_strength,
    warmup_strength,
)
from tests.training.runs import same_weights, small_model, trainer, whole_and_resumed


class Watch(Technique):
    """Keeps a technique's strength at each forward pass."""

    def __init__(self, watched: Technique) -> None:
        self.watched = watched
        self.seen: list[float] = []

    def terms(self, terms: Any, outputs: Any, batch: Any, items: Any) -> Any:
        self.seen.append(self.watched.weight)
        return terms


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_number_is_that_of_the_step(tmp_path: Path, accumulation: int) -> None:
    fgm = FGM(0.1)
    watch = Watch(fgm)
    scheduled = ScheduledStrength(fgm, "weight", linear_strength(0.0, 2.0))
    run = trainer(tmp_path, [watch, scheduled, fgm], gradient_accumulation_steps=accumulation)
    run.train()
    # With a weight of 0 there is one pass for each micro-batch, with others there are two.
    expected = [0.0] + [weight for weight in (0.5, 1.0, 1.5) for _ in range(2)]
    assert watch.seen == [weight for weight in expected for _ in range(accumulation)]
    logged = [entry["fgm.weight"] for entry in run.state.log_history if "fgm.weight" in entry]
    assert logged == [0.0, 0.5, 1.0, 1.5]


def test_shapes_of_schedules() -> None:
    assert [linear_strength(1, 3)(p) for p in (0, 0.5, 1)] == [1, 2, 3]
    assert [cosine_strength(1, 3)(p) for p in (0, 0.5, 1)] == pytest.approx([1, 2, 3])
    assert cosine_strength(1, 3)(0.1) < linear_strength(1, 3)(0.1)
    assert [warmup_strength(3, 0.1)(p) for p in (0, 0.05, 0.1, 1)] == [0, 1.5, 3, 3]
    assert warmup_strength(3, 0)(0) == 3


def test_a_constant_number_is_the_technique_itself_to_the_bit(tmp_path: Path) -> None:
    for weight in (0.0, 0.7):
        fgm = FGM(0.1, weight=3.0)
        scheduled = trainer(tmp_path, [fgm, ScheduledStrength(fgm, "weight", lambda _, weight=weight: weight)])
        plain = trainer(tmp_path, [FGM(0.1, weight=weight)])
        scheduled.train()
        plain.train()
        assert same_weights(scheduled.model, plain.model)


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    def techniques() -> list[Technique]:
        r_drop, fgm = RDrop(), FGM()
        return [
            r_drop,
            fgm,
            ScheduledStrength(r_drop, "weight", linear_strength(0.0, 4.0)),
            ScheduledStrength(fgm, "epsilon", cosine_strength(1.0, 0.1)),
        ]

    whole, again = whole_and_resumed(tmp_path, techniques, model=lambda: small_model(hidden_dropout_prob=0.1))
    assert same_weights(whole.model, again.model)
    assert again.techniques[0].weight == 4.0


def test_a_number_of_the_loss(tmp_path: Path) -> None:
    loss = CrossEntropyLoss(label_smoothing=0.0)
    run = trainer(
        tmp_path,
        [ScheduledStrength(loss, "label_smoothing", linear_strength(0.0, 0.4))],
        options={"loss": loss},
    )
    run.train()
    logged = [entry.get("CrossEntropyLoss.label_smoothing") for entry in run.state.log_history[:4]]
    assert logged == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_what_has_no_such_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"ScheduledStrength: FGM.at is None, not a number"):
        ScheduledStrength(FGM(), "at", linear_strength(0, 1))
    with pytest.raises(TypeError, match=r"ScheduledStrength: FGM.wight is None, not a number"):
        ScheduledStrength(FGM(), "wight", linear_strength(0, 1))
    with pytest.raises(ValueError, match=r"ScheduledStrength: FGM is not in techniques=: give it there as well"):
        trainer(tmp_path, [ScheduledStrength(FGM(), "weight", linear_strength(0, 1))])
