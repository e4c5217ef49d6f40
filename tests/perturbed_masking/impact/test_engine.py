"""The engine against the definition, and what must not change its results."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nlpkit.perturbed_masking.impact.distances import DISTANCES, MERGES
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.engine import Impact, measure_impacts
from nlpkit.perturbed_masking.impact.measurement import Measure
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from tests.perturbed_masking.small_models import MODELS, SENTENCES, bert, seeded, tokenizer
from tests.reference.perturbed_masking import naive_impact

ALL = [
    *(Measure(layer, distance, merge) for layer in (1, 2) for distance in DISTANCES[:2] for merge in MERGES),
    *(Measure(3, distance, merge) for distance in DISTANCES for merge in MERGES),
]


def masking(model: Any, **settings: Any) -> PerturbedMasking:
    return PerturbedMasking(model.double(), tokenizer(), show_progress=False, **settings)


def assert_same(found: Any, expected: Any, message: str = "") -> None:
    """Equal but for the rounding of results to fp32; the models compute in fp64."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, err_msg=message)


def assert_equal_to_the_definition(model: Any, found: Impact, measures: Any) -> None:
    units, matrices = found
    if len(units) == 0:
        assert matrices.shape == (len(measures), 0, 0)
        return
    expected = naive_impact(model, units.token_ids, units.owners, 4, measures)
    for one, other, measure in zip(matrices, expected, measures, strict=True):
        assert_same(one, other, f"{measure} of {units.words}")
        assert not one.diagonal().any()
        if len(units) > 1:
            assert np.abs(one).max() > 1e-4, "nothing was measured"


def test_every_measure_is_the_definition() -> None:
    model = bert()
    parser = masking(model)
    for sentence, found in zip(SENTENCES, parser.iter_measures(SENTENCES, ALL), strict=True):
        assert found.units.sentence is sentence
        assert_equal_to_the_definition(model, found, ALL)


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_is_the_definition(name: str) -> None:
    model = seeded(MODELS[name])
    parser = masking(model)
    measures = [Measure(1), Measure(2, "cosine"), Measure(3), Measure(3, "probability"), Measure(3, "jensen_shannon")]
    sentences = [SENTENCES[1], SENTENCES[3]]
    for sentence, found in zip(sentences, parser.iter_measures(sentences, measures), strict=True):
        assert found.units.sentence is sentence
        assert_equal_to_the_definition(model, found, measures)


@pytest.mark.parametrize("batch_tokens", [1, 17, 100, 100_000])
def test_batch_size_changes_nothing(batch_tokens: int) -> None:
    expected = masking(bert()).impact(SENTENCES)
    for one, other in zip(masking(bert(), batch_tokens=batch_tokens).impact(SENTENCES), expected, strict=True):
        assert_same(one, other)


def test_order_and_company_change_nothing() -> None:
    parser = masking(bert(), batch_tokens=64)
    expected = parser.impact(SENTENCES)
    for one, other in zip(parser.impact(SENTENCES[::-1]), expected[::-1], strict=True):
        assert_same(one, other)
    for sentence, other in zip(SENTENCES, expected, strict=True):
        assert_same(parser.impact([sentence])[0], other)


def test_a_model_without_attention_sees_no_impact() -> None:
    model = bert()
    for layer in model.base_model.encoder.layer:
        for part in (layer.attention.self.value, layer.attention.output.dense):
            nn.init.zeros_(part.weight)
    for matrix in masking(model).impact(SENTENCES):
        assert_same(matrix, np.zeros_like(matrix))


def test_bf16_comes_near() -> None:
    exact, rough = (
        PerturbedMasking(bert(), tokenizer(), bf16=bf16, show_progress=False).impact(SENTENCES)
        for bf16 in (False, True)
    )
    for one, other in zip(rough, exact, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0.1, atol=0.1)
    assert any(np.abs(one - other).max(initial=0) > 1e-5 for one, other in zip(rough, exact, strict=True))


def test_copies_are_as_few_as_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    states = MaskedEncoder.states

    def count(self: MaskedEncoder, input_ids: torch.Tensor, *rest: Any) -> Any:
        sizes.append(tuple(input_ids.shape))  # type: ignore[arg-type]
        return states(self, input_ids, *rest)

    monkeypatch.setattr(MaskedEncoder, "states", count)
    parser = masking(bert())
    parser.impact(["今天天气不错", ["去"]])
    assert sum(copies for copies, _ in sizes) == 6 * 7 // 2
    sizes.clear()
    parser.segment(["今天天气不错"])
    assert sizes == [(2 * 6 - 1, 8)]


def test_reach_leaves_out_what_is_farther() -> None:
    parser = masking(bert())
    whole, near = (parser.impact(["今天天气不错"], reach=reach)[0] for reach in (None, 2))
    distances = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    assert_same(near, np.where(distances <= 2, whole, 0))


def test_the_stream_is_lazy() -> None:
    drawn = 0

    def endless() -> Iterator[str]:
        nonlocal drawn
        for number in itertools.count():
            drawn += 1
            yield "今天天气不错"[: 2 + number % 5]

    stream = masking(bert(), batch_tokens=8).iter_impact(endless())
    assert [next(stream).shape for _ in range(6)] == [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (2, 2)]
    assert drawn < 100


def test_progress_counts_every_sentence_once_however_many_parts_it_has() -> None:
    done: list[int] = []
    parser = masking(bert(), batch_tokens=16, overlong="split")
    sentences = [*SENTENCES, "今天天气不错，我们去吧。" * 6]
    units = [parser.units(sentence) for sentence in sentences]
    assert len(units[-1].parts) > 1
    found = measure_impacts(parser.encoder, units, [Measure(1)], mask_id=4, batch_tokens=16, finished=done.append)
    assert [one.units for one in found] == units
    assert sum(done) == len(sentences)


def test_another_default_of_torch_changes_nothing() -> None:
    parser = PerturbedMasking(bert(), tokenizer(), show_progress=False)
    texts = ["今天天气很好", "酒店不错"]
    expected, words, trees = parser.impact(texts), parser.segment(texts), parser.constituents(texts, "distortion")
    torch.set_default_dtype(torch.float64)
    try:
        found = parser.impact(texts)
        assert (parser.segment(texts), parser.constituents(texts, "distortion")) == (words, trees)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(one.dtype == other.dtype and (one == other).all() for one, other in zip(expected, found, strict=True))
