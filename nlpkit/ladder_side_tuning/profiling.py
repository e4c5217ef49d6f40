"""The ladder as a way of fine-tuning, for ``nlpkit.probes.profile_tuning``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.stacks import find_stacks
from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.modeling import LadderModel
from nlpkit.ladder_side_tuning.tuning import tune_from
from nlpkit.probes import Way


def ladder(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[LadderModel, Mapping[str, Any]]:
    """Train a ladder at an eighth of the width beside three quarters of the layers, and the head."""
    return get_ladder_model(model, LadderConfig(reduction=8, layers=0.75)), {}


def ladder_with_cache(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[LadderModel, Mapping[str, Any]]:
    """Train the same ladder on taps that are there already, as from the second epoch on."""
    made, _ = ladder(model, batch)
    inputs: Mapping[str, Any] = batch
    return made, {"taps": made.tap(**inputs)}


def tuned(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[LadderModel, Mapping[str, Any]]:
    """Train the upper third of the layers whole, on a tap that is there already."""
    depth = len(find_stacks(model)[0].blocks(model))
    made = tune_from(model, max(1, depth * 2 // 3))
    inputs: Mapping[str, Any] = batch
    return made, {"taps": made.tap(**inputs)}


def ladder_ways() -> dict[str, Way]:
    """The ladder, with cached taps and without, and a third tuned from one, beside ``nlpkit.probes.standard_ways``.

    Returns:
        Ways by name.

    Example:
        >>> list(ladder_ways())
        ['ladder', 'ladder, taps cached', 'tuned, tap cached']
    """
    return {"ladder": ladder, "ladder, taps cached": ladder_with_cache, "tuned, tap cached": tuned}
