"""Measures: together as alone, and what they compare."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from nlpkit.perturbed_masking.impact.distances import DISTANCES, MERGES, jensen_shannon
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import SENTENCES, bert, tokenizer

ALL = [
    *(Measure(layer, distance, merge) for layer in (1, 2) for distance in DISTANCES[:2] for merge in MERGES),
    *(Measure(3, distance, merge) for distance in DISTANCES for merge in MERGES),
]


def masking(model: Any, **settings: Any) -> PerturbedMasking:
    return PerturbedMasking(model.double(), tokenizer(), show_progress=False, **settings)


def assert_same(found: Any, expected: Any, message: str = "") -> None:
    """Equal but for the rounding of results to fp32; the models compute in fp64."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, err_msg=message)


def test_measures_together_are_the_measures_alone() -> None:
    parser = masking(bert())
    together = list(parser.iter_measures(SENTENCES, ALL))
    for number in (0, 9, 17, 23):
        alone = parser.iter_measures(SENTENCES, [ALL[number]])
        for one, several in zip(alone, together, strict=True):
            assert_same(one.matrices[0], several.matrices[number])


def test_layers_count_from_the_last_one_too() -> None:
    parser = masking(bert())
    (found,) = parser.iter_measures(SENTENCES[:1], [Measure(3), Measure(-1), Measure(), Measure(1), Measure(-3)])
    assert (found.matrices[0] == found.matrices[1:3]).all()
    assert (found.matrices[3] == found.matrices[4]).all()
    assert (found.matrices[0] != found.matrices[3]).any()


def test_pieces_are_merged_by_the_rule_asked_for() -> None:
    words = ["unhappily", "sat", "cats"]
    found = {
        merge: masking(bert(), measure=Measure(merge=merge)).impact([words])[0]
        for merge in ("vectors", "first", "mean", "max")
    }
    assert (found["max"] >= found["mean"]).all()
    assert (found["mean"][0, 1:] > found["vectors"][0, 1:]).all()  # the triangle inequality
    for matrix in found.values():
        assert_same(matrix[1], found["first"][1])  # a single piece


def test_distances_of_a_model_in_fp64_are_exact() -> None:
    apart = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]], dtype=torch.float64)
    assert jensen_shannon(apart, apart.flip(0)).tolist() == pytest.approx([math.log(2)] * 2, rel=1e-15)


def test_settings_are_json() -> None:
    json.dumps(masking(bert()).measure)


def test_what_no_model_measures_is_refused_when_it_is_named() -> None:
    with pytest.raises(
        ValueError, match="distance='l2' is unknown; use one of euclidean, cosine, probability, jensen"
    ):
        Measure(distance="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="merge='sum' is unknown; use one of vectors, first, mean, max"):
        Measure(1, "cosine", "sum")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"layer='cosine' is no number of a layer; .* Measure\(distance="):
        Measure("cosine")  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(Measure(2)))._replace(layer=3) == Measure(3) == (3, "euclidean", "vectors")
