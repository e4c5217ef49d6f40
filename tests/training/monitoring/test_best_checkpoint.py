"""The best of several evaluations by several metrics, as the Trainer sees it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from transformers import EarlyStoppingCallback

from nlpkit.training import BestCheckpoint
from tests.training.runs import trainer

SETTINGS = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "best",
    "greater_is_better": True,
}


def best_step(
    folder: Path, scores: list[tuple[float, float]], stop_after: int = 0, resume: int = 0, **options: Any
) -> tuple[int, int]:
    """The step of the best checkpoint, and the last one, of a run whose evaluations give ``f1`` and ``cost``."""
    left = iter(scores[resume:])
    callbacks: list[Any] = [BestCheckpoint({"f1": "max", "eval_cost": "min"}, **options)]
    callbacks += [EarlyStoppingCallback(stop_after)] if stop_after else []

    def metrics(_: Any) -> dict[str, float]:
        return dict(zip(("f1", "cost"), next(left), strict=True))

    own = {"callbacks": callbacks, "compute_metrics": metrics}
    run = trainer(folder, steps=len(scores), options=own, **SETTINGS)
    run.train(resume_from_checkpoint=str(folder / f"checkpoint-{resume}") if resume else None)
    return int(str(run.state.best_model_checkpoint).rpartition("-")[2]), run.state.global_step


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([(0.5, 1), (0.7, 2), (0.6, 0)], {}, 2),
        ([(0.5, 1), (0.7, 2), (0.7, 1)], {}, 3),  # the second metric decides
        ([(0.7, 1), (0.7, 1), (0.7, 1)], {}, 1),  # the first of equals
        ([(0.70, 2), (0.705, 2), (0.709, 1)], {"min_delta": 0.01}, 3),
        ([(0.70, 2), (0.705, 2), (0.709, 2.005)], {"min_delta": 0.01}, 1),
        ([(0.70, 2), (0.705, 2), (0.75, 3)], {"min_delta": {"eval_f1": 0.01, "cost": 0.0}}, 3),
        ([(0.9, 1), (0.5, 1), (0.6, 1), (0.55, 1)], {"ignore_before": 0.5}, 3),
        ([(0.9, 1.0), (0.8, 0.2), (0.7, 0.0)], {"weights": {"f1": 1.0, "cost": 1.0}}, 3),
        ([(0.9, 0.3), (0.8, 0.15), (0.7, 0.0)], {"weights": {"eval_f1": 1, "eval_cost": 1}, "min_delta": 0.08}, 3),
        ([(0.9, 0.3), (0.8, 0.15), (0.7, 0.0)], {"weights": {"eval_f1": 1, "eval_cost": 1}, "min_delta": 0.2}, 1),
        ([(math.nan, 1), (0.1, 9), (math.nan, 0)], {}, 2),
    ],
)  # fmt: skip
def test_the_trainer_keeps_the_best(
    tmp_path: Path, scores: list[tuple[float, float]], options: dict[str, Any], expected: int
) -> None:
    assert best_step(tmp_path, scores, **options) == (expected, len(scores))


def test_it_stops_early_and_not_before_it_counts(tmp_path: Path) -> None:
    scores = [(0.5, 1), (0.7, 2), (0.6, 0), (0.6, 0), (0.9, 0), (0.9, 0)]
    assert best_step(tmp_path / "a", scores, stop_after=2) == (2, 4)
    assert best_step(tmp_path / "b", scores[::-1], stop_after=2, ignore_before=0.9) == (6, 6)


def test_a_resumed_run_remembers_the_best(tmp_path: Path) -> None:
    scores = [(0.5, 1), (0.7, 2), (0.6, 0), (0.65, 0)]
    assert best_step(tmp_path, scores) == (2, 4)
    assert best_step(tmp_path, scores, resume=3) == (2, 4)
    assert best_step(tmp_path, [*scores[:3], (0.7, 1)], resume=3) == (4, 4)


def test_missing_metrics_and_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"BestCheckpoint: metrics are empty"):
        BestCheckpoint({})
    with pytest.raises(ValueError, match=r"BestCheckpoint: metrics\['f1'\]='up' must be 'max' or 'min'"):
        BestCheckpoint({"f1": "up"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"BestCheckpoint: weights of \['f'\] must be of \['f1'\]"):
        BestCheckpoint({"f1": "max"}, weights={"f": 1.0})
    with pytest.raises(ValueError, match=r"min_delta=\{'f': 1.0\} must be one number, or one for each metric"):
        BestCheckpoint({"f1": "max"}, min_delta={"f": 1.0})
    two = [BestCheckpoint({"eval_loss": way}) for way in ("min", "max")]
    with pytest.raises(ValueError, match=r"eval_best is among the metrics already: give one BestCheckpoint"):
        trainer(tmp_path, steps=1, options={"callbacks": two}, **SETTINGS).train()
    best = BestCheckpoint({"eval_loss": "min", "eval_f1": "max"})
    run = trainer(tmp_path, steps=1, options={"callbacks": [best]}, **SETTINGS)
    with pytest.raises(KeyError, match=r"BestCheckpoint: eval_f1 not among the metrics epoch, eval_loss"):
        run.train()
    run = trainer(tmp_path, steps=1, options={"callbacks": [BestCheckpoint({"f1": "max"})]}, **SETTINGS)
    with pytest.raises(KeyError, match=r"BestCheckpoint: eval_f1 not among the metrics epoch, eval_loss"):
        run.train()


def test_one_of_several_data_sets_is_enough(tmp_path: Path) -> None:
    best = BestCheckpoint({"other_loss": "min"})
    run = trainer(tmp_path, steps=1, options={"callbacks": [best]}, **SETTINGS)
    run.eval_dataset = {"one": run.eval_dataset, "other": run.eval_dataset}
    run.train()
    assert run.state.best_metric == 1.0
