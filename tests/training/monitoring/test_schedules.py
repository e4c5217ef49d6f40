"""Numbers of techniques that follow the progress of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlpkit.losses import CenterLoss, CrossEntropyLoss
from nlpkit.training import (
    EMA,
    FGM,
    SWA,
    LayerRates,
    MeZO,
    RDrop,
    ScheduledStrength,
    Technique,
    Unfreezing,
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
    assert again.techniques[0].weight == 1.0  # what it was before


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
    with pytest.raises(TypeError, match=r"ScheduledStrength: FGM.at is None, not a number; its numbers are"):
        ScheduledStrength(FGM(), "at", linear_strength(0, 1))
    with pytest.raises(TypeError, match=r"FGM.wight is not there; its numbers are epsilon, weight$"):
        ScheduledStrength(FGM(), "wight", linear_strength(0, 1))
    with pytest.raises(TypeError, match=r"RDrop.alpha is not there; its numbers are weight$"):
        ScheduledStrength(RDrop(), "alpha", linear_strength(0, 1))
    with pytest.raises(TypeError, match=r"CrossEntropyLoss.smoothing is not there; its numbers are label_smoothing$"):
        ScheduledStrength(CrossEntropyLoss(), "smoothing", linear_strength(0, 1))
    with pytest.raises(ValueError, match=r"ScheduledStrength: FGM is not in techniques=: give it there as well"):
        trainer(tmp_path, [ScheduledStrength(FGM(), "weight", linear_strength(0, 1))])


def test_numbers_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    other = ScheduledStrength(CrossEntropyLoss(), "label_smoothing", linear_strength(0.0, 0.5))
    for loss in (None, CrossEntropyLoss()):
        with pytest.raises(ValueError, match="this CrossEntropyLoss is not what the Trainer trains on: give it as lo"):
            trainer(tmp_path, [other], options={"loss": loss})
    inner = CrossEntropyLoss()
    around = CenterLoss(inner, num_classes=5, dim=5)
    trainer(tmp_path, [ScheduledStrength(inner, "label_smoothing", lambda _: 0.1)], options={"loss": around})


@pytest.mark.parametrize("target", [EMA(), SWA(), Unfreezing(), LayerRates()], ids=lambda value: value.name)
def test_what_acts_on_the_whole_of_training_neither_comes_nor_goes(target: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"acts on the whole of training, with a weight or without"):
        trainer(tmp_path, [target, ScheduledStrength(target, "weight", linear_strength(0.0, 1.0))])


def test_what_comes_later_is_refused_beside_what_it_cannot_be_beside(tmp_path: Path) -> None:
    fgm = FGM(weight=0.0)
    trainer(tmp_path, [MeZO(), fgm])
    with pytest.raises(ValueError, match="MeZO takes no gradients: FGM cannot act beside it"):
        trainer(tmp_path, [MeZO(), fgm, ScheduledStrength(fgm, "weight", linear_strength(0.0, 1.0))])


def test_after_training_numbers_are_what_they_were(tmp_path: Path) -> None:
    technique = RDrop(4.0, dropout=0.1)
    scheduled = trainer(tmp_path, [technique, ScheduledStrength(technique, "weight", linear_strength(4.0, 0.0))])
    scheduled.train()
    assert technique.weight == 4.0

    def ends(progress: float) -> float:
        if progress > 0.3:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, [technique, ScheduledStrength(technique, "weight", ends)]).train()
    assert technique.weight == 4.0
