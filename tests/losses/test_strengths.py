"""Every number that a loss is given is looked at: what makes no sense is refused by the name of the argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import nlpkit.losses as room
from nlpkit.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, FocalLoss, InfoNCELoss, LogitAdjustedLoss

ROWS, CLASSES, CELLS = torch.zeros(2, 3), torch.tensor([0, 2]), torch.tensor([[1, 0, 1], [0, 0, 0]])
SHARES = torch.full((2, 3), 0.5)

#: What a name takes beside numbers.
GIVEN: dict[str, tuple[Any, ...]] = {
    "CenterLoss": (CrossEntropyLoss(), 3, 2),
    "ChunkedCrossEntropyLoss": (nn.Linear(2, 3),),
    "LogitAdjustedLoss": ([0.2, 0.3, 0.5],),
    "NonContrastiveLoss": (nn.Identity(),),
    "SentenceTransformersLoss": (nn.Identity(), InfoNCELoss()),
    "chunked_cross_entropy": (ROWS, torch.zeros(4, 3), CLASSES),
    "class_priors": (CLASSES, 3),
    "exact_log_probability": (ROWS, CLASSES),
    "focal": (ROWS[0], 1.0),
    "fold_priors": (nn.Sequential(nn.Linear(2, 3)), [0.2, 0.3, 0.5]),
    "minimum_risk": (torch.zeros(2, 3, 4), ROWS),
    "posthoc_adjust": (ROWS, [0.2, 0.3, 0.5]),
    "predictor": (8,),
    "smooth_max": (ROWS,),
    "soft_argmax": (ROWS,),
    "soft_onehot": (ROWS,),
    "soft_topk": (ROWS, 1),
    "sparse_zlpr": (ROWS, torch.tensor([[0], [-100]])),
    "zlpr": (ROWS, CELLS),
    "zlpr_probabilities": (ROWS,),
}
#: Counts that a Trainer gives, labels and axes: no strengths.
OTHERS = {"num_items_in_batch", "ignore_index", "dim"}


def numbers() -> list[tuple[str, str]]:
    """Public names and those of their arguments that are annotated as numbers."""
    found = []
    for name in room.__all__:
        if name in ("Divergence", "ContrastiveLoss", "EmbeddingLoss", "BatchLoss", "Loss"):  # abstract, or a tuple
            continue
        made = getattr(room, name)
        if not callable(made):
            continue
        for argument in inspect.signature(made).parameters.values():
            kinds = set(re.split(r" \| ", str(argument.annotation)))
            axis = argument.name in OTHERS and not (argument.name == "dim" and name in ("CenterLoss", "predictor"))
            if kinds & {"int", "float"} and not kinds & {"Sequence[float]"} and not axis:
                found.append((name, argument.name))
    return found


def call(name: str, argument: str, value: Any) -> Any:
    """The name called with one argument as told, and others by their defaults."""
    made: Callable[..., Any] = getattr(room, name)
    bound = inspect.signature(made).bind_partial(*GIVEN.get(name, ()))
    return made(**{**bound.arguments, argument: value})


def test_all_numbers_are_found() -> None:
    found = numbers()
    assert len(found) > 45 and len({name for name, _ in found}) > 25
    assert {("InfoNCELoss", "temperature"), ("zlpr", "threshold"), ("CenterLoss", "dim")} <= set(found)


@pytest.mark.parametrize(("name", "argument"), numbers())
def test_nan_and_infinity_are_no_strengths(name: str, argument: str) -> None:
    for wrong in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises((ValueError, TypeError), match=rf"^{argument}={wrong}: give a (finite|whole) number"):
            call(name, argument, wrong)


@pytest.mark.parametrize(("name", "argument"), numbers())
def test_the_default_is_taken(name: str, argument: str) -> None:
    default = inspect.signature(getattr(room, name)).parameters[argument].default
    if default is not inspect.Parameter.empty and argument not in ("threshold",):
        call(name, argument, default)


NEVER_BELOW_0 = {
    "alpha", "alignment", "chunk", "dim", "gamma", "hidden", "k", "label_smoothing", "leave_out", "mini_batch_size",
    "momentum", "nodes", "num_classes", "num_labels", "scale", "sharpness", "sigma", "smoothing", "softcap",
    "temperature", "weight",
}  # fmt: skip
ABOVE_0 = {
    "chunk", "dim", "hidden", "k", "mini_batch_size", "nodes", "num_classes", "num_labels", "scale", "sharpness",
    "sigma", "softcap", "temperature",
}  # fmt: skip
AT_MOST_1 = {"label_smoothing", "momentum"}
#: Of either sign: a shift of logits, or a place among them.
OF_ANY_SIZE = {("HardTruncationLoss", "margin")} | {
    (name, "tau") for name in ("LogitAdjustedLoss", "posthoc_adjust", "fold_priors")
} | {(name, "threshold") for name in ("zlpr", "sparse_zlpr", "zlpr_probabilities")}  # fmt: skip


@pytest.mark.parametrize(("name", "argument"), numbers())
def test_what_is_out_of_range_is_named(name: str, argument: str) -> None:
    if (name, argument) in OF_ANY_SIZE:
        call(name, argument, -1.0)
        return
    assert argument in NEVER_BELOW_0 | {"margin"}, f"say here what {argument} may be"
    wrong = [-1, *([0] if argument in ABOVE_0 else []), *([1.5] if argument in AT_MOST_1 else [])]
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{argument}={value}: give a (finite|whole) number"):
            call(name, argument, value)


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(CrossEntropyLoss, class_weights=[1.0, NAN]), r"class_weights is \[1.0, nan\]; give finite"),
        (partial(BinaryCrossEntropyLoss, pos_weight=NAN), r"pos_weight is \[nan\]; give finite weights"),
        (partial(BinaryCrossEntropyLoss, pos_weight=float("inf")), r"pos_weight is \[inf\]; give finite weights"),
        (partial(FocalLoss, alpha=[1.0, NAN]), r"alpha is \[1.0, nan\]; give finite weights"),
        (partial(FocalLoss, alpha=NAN, multi_label=True), r"alpha=nan: give a finite number at least 0 and at most 1"),
        (partial(LogitAdjustedLoss, [NAN, 0.5]), r"prior\[0\] is nan"),
        (partial(LogitAdjustedLoss, [0.5, float("inf")]), r"prior sums to inf, not to 1"),
        (partial(LogitAdjustedLoss, [0.5, float("inf")], multi_label=True), r"probability of inf; .* each is below 1"),
        (partial(room.bernoulli, 0.0), r"scale=0.0: give a finite number above 0"),
        (partial(room.group_accuracy, [0], [0], [5], (20, 10)), r"limits\[1\]=10: give a finite number at least 20"),
        (partial(room.group_accuracy, [0], [0], [5], (NAN, 10)), r"limits\[0\]=nan: give a finite number at least 0"),
    ],
)
def test_weights_and_limits_are_looked_at_too(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
