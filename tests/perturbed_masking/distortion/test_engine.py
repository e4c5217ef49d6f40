"""Contextual distortion: against its definition, and the same however sentences are batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nlpkit.perturbed_masking.distortion.engine import measure_distortions
from nlpkit.perturbed_masking.distortion.rearrangements import inner_spans, rearrangements
from nlpkit.perturbed_masking.impact.encoder import MaskedEncoder
from nlpkit.perturbed_masking.impact.units import UnitTokenizer
from tests.perturbed_masking.small_models import MODELS, TOKENS, bert, seeded, tokenizer
from tests.reference.distortion import naive_distortion

SENTENCES = [
    ["the", "cat", "sat", "unhappily", "on"],
    ["cats", "sat"],
    ["今天", "天气", "不", "错"],
    ["unhappily", "unhappily", "the"],
    ["吧"],
    [],
]
MASK, COMMA = TOKENS.index("[MASK]"), TOKENS.index(",")


def measured(encoder: MaskedEncoder, sentences: list[Any], layers: list[int], **settings: Any) -> list[Any]:
    units = UnitTokenizer(tokenizer(), "characters", max_length=40)
    streamed = map(units, sentences)
    return [
        found.tables
        for found in measure_distortions(
            encoder, streamed, layers, mask_id=MASK, commas=lambda units: (COMMA,), **settings
        )
    ]


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "albert"])
def test_tables_are_those_of_the_definition(name: str) -> None:
    model = seeded(MODELS[name]).double()
    layers = [1, 3]
    tables = measured(MaskedEncoder(model), SENTENCES, layers)
    units = UnitTokenizer(tokenizer(), "characters", max_length=40)
    for sentence, found in zip(SENTENCES, tables, strict=True):
        cut = units(sentence)
        words = [
            [token for token, owner in zip(cut.token_ids, cut.owners, strict=True) if owner == number]
            for number in range(len(cut))
        ]
        assert found.shape == (2, len(sentence), len(sentence) + 1)
        for number, layer in enumerate(layers):
            expected = naive_distortion(model, words, (2, 3), layer, MASK, COMMA)
            np.testing.assert_allclose(found[number], expected, rtol=1e-5, atol=1e-6)


def test_batches_do_not_matter() -> None:
    encoder = MaskedEncoder(bert().double())
    whole = measured(encoder, SENTENCES, [2])
    for alone, found in zip(SENTENCES, whole, strict=True):
        np.testing.assert_allclose(measured(encoder, [alone], [2], batch_tokens=1)[0], found, rtol=1e-6)


def test_spans_and_copies_are_counted() -> None:
    units = UnitTokenizer(tokenizer(), "characters", max_length=40)(["the", "cat", "sat", "on"])
    made = list(rearrangements(units, MASK, (COMMA,)))
    assert len(made) == 4 * len(inner_spans(4)) == 20
    assert inner_spans(2) == inner_spans(0) == []
    the, cat, sat, on = (TOKENS.index(word) for word in ("the", "cat", "sat", "on"))
    assert [one.token_ids.tolist()[1:-1] for one in made[4:8]] == [
        [the, MASK, on],
        [cat, sat],
        [cat, sat, COMMA, the, COMMA, on],
        [the, COMMA, on, COMMA, cat, sat],
    ]
    assert made[6].origins.tolist() == [-1, 2, 3, -1, 1, -1, 4, -1]
