"""The best checkpoint by several metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

T = TypeVar("T")


class BestCheckpoint(TrainerCallback):
    """Tell the Trainer which checkpoint is the best one, by several metrics, as one metric of its own.

    What ``evaluate`` returns gets a metric ``eval_best``, which is above all former ones where this evaluation is
    better than the best one so far, and below them elsewhere; the log does not have it. So all that the Trainer does
    with a metric works on several: give ``metric_for_best_model="best"`` and ``greater_is_better=True``, with
    ``load_best_model_at_end``, ``save_strategy="best"`` or ``EarlyStoppingCallback``.

    Args:
        metrics: which of them count, by the names that ``metric_for_best_model`` takes (``"eval_f1"``, or ``"f1"``
            for short), and whether the largest or the smallest is the best.
        weights: of each metric in a sum that is compared; ``None`` means one after the other, in the order given: the
            next one decides where those before it are equal.
        min_delta: by how much a metric must differ to count as another, one number for all or one for each; of the
            sum, where there are weights.
        ignore_before: a share of training before whose end each evaluation counts as better than the last one, and
            any after it as better than those.

    Raises:
        ValueError: there are no metrics, a direction is not known, or names do not match; or another one has set
            ``eval_best``.
        KeyError: an evaluation lacks a metric. One that has none of them, on another one of several data sets, does
            not count.

    Note:
        Of equal evaluations the first is the best. A metric that is not a number is the worst. It is a callback like
        any other, for any Trainer: ``callbacks=[BestCheckpoint(...), EarlyStoppingCallback()]``, in this order. The
        best so far is found again from metrics in the log, so a resumed run goes on as it was. With ``min_delta`` and
        metrics in turn, better than the best does not mean better than all.

    Example:
        >>> best = BestCheckpoint({"eval_f1": "max", "eval_loss": "min"}, min_delta=0.01)
        >>> best.better({"eval_f1": 0.801, "eval_loss": 0.3}, than={"eval_f1": 0.800, "eval_loss": 0.5})
        True
    """

    def __init__(
        self,
        metrics: Mapping[str, Literal["max", "min"]],
        *,
        weights: Mapping[str, float] | None = None,
        min_delta: float | Mapping[str, float] = 0.0,
        ignore_before: float = 0.0,
    ) -> None:
        if not metrics:
            raise ValueError("BestCheckpoint: metrics are empty: give at least one, such as {'eval_loss': 'min'}")
        for name, direction in metrics.items():
            if direction not in ("max", "min"):
                raise ValueError(f"BestCheckpoint: metrics[{name!r}]={direction!r} must be 'max' or 'min'")
        if weights is not None and _named(weights).keys() != _named(metrics).keys():
            raise ValueError(f"BestCheckpoint: weights of {sorted(weights)} must be of {sorted(metrics)}")
        delta = _named(min_delta) if isinstance(min_delta, Mapping) else min_delta
        if isinstance(delta, dict) and (weights is not None or delta.keys() != _named(metrics).keys()):
            raise ValueError(f"BestCheckpoint: min_delta={min_delta} must be one number, or one for each metric")
        self.metrics, self.weights = _named(metrics), None if weights is None else _named(weights)
        self.min_delta = delta
        self.ignore_before = ignore_before
        self._begin()

    def _begin(self) -> None:
        self._best: dict[str, float] | None = None
        self._rank = 0

    def better(self, found: Mapping[str, float], than: Mapping[str, float]) -> bool:
        """Whether metrics are better than others."""
        ours, others = self._signed(found), self._signed(than)
        if self.weights is not None:
            score, best = (sum(self.weights[n] * values[n] for n in self.metrics) for values in (ours, others))
            return score > best + self._delta("")
        for name in self.metrics:
            if ours[name] > others[name] + self._delta(name):
                return True
            if ours[name] < others[name] - self._delta(name):
                return False
        return False

    def _signed(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Metrics of which the largest is the best."""
        values = {name: metrics[name] if way == "max" else -metrics[name] for name, way in self.metrics.items()}
        return {name: -math.inf if math.isnan(value) else value for name, value in values.items()}

    def _delta(self, name: str) -> float:
        return self.min_delta[name] if isinstance(self.min_delta, Mapping) else self.min_delta

    def _judge(self, metrics: Mapping[str, Any], step: int, last_step: int) -> float:
        """The metric of an evaluation: the number of those that were the best when they came, or less."""
        found = {name: float(metrics[name]) for name in self.metrics}
        ignored = step < self.ignore_before * last_step
        if self._best is None or ignored or self.better(found, self._best):
            self._best = None if ignored else found
            self._rank += 1
            return float(self._rank)
        return float(self._rank - 1)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go over the evaluations of a run that goes on."""
        self._begin()
        for entry in state.log_history:
            if self.metrics.keys() <= entry.keys():
                self._judge(entry, int(entry["step"]), state.max_steps)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Adds ``eval_best``."""
        metrics: dict[str, float] = kwargs["metrics"]
        missing = [name for name in self.metrics if name not in metrics]
        if len(missing) == len(self.metrics) and "eval_runtime" not in metrics:
            return  # one of several data sets, the name of which is in all names
        if missing:
            raise KeyError(f"BestCheckpoint: {', '.join(missing)} not among the metrics {', '.join(sorted(metrics))}")
        if "eval_best" in metrics:
            raise ValueError("BestCheckpoint: eval_best is among the metrics already: give one BestCheckpoint")
        metrics["eval_best"] = self._judge(metrics, state.global_step, state.max_steps)


def _named(by_metric: Mapping[str, T]) -> dict[str, T]:
    """By the names that evaluation logs."""
    return {name if name.startswith("eval_") else f"eval_{name}": value for name, value in by_metric.items()}
