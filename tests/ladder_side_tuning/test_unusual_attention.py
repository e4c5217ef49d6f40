"""Backbones that attend in ways of their own: each has a ladder that is right, or is refused before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BigBirdConfig,
    BigBirdForSequenceClassification,
    CanineConfig,
    CanineForSequenceClassification,
    LEDConfig,
    LEDForConditionalGeneration,
    LongT5Config,
    LongT5ForConditionalGeneration,
    YosoConfig,
    YosoForSequenceClassification,
)

from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model, tune_from
from tests.ladder_side_tuning.small_models import BERT

ROWS = [{"input_ids": torch.arange(5, 5 + length), "labels": torch.tensor(0)} for length in (3, 9, 20)]

BUILDERS = [lambda model: tune_from(model, 2), lambda model: get_ladder_model(model, LadderConfig(reduction=2))]


def collate(rows: list[dict[str, Tensor]], length: int = 0) -> dict[str, Tensor]:
    length = max(length, *(len(row["input_ids"]) for row in rows))
    ids = torch.stack([torch.nn.functional.pad(row["input_ids"], (0, length - len(row["input_ids"]))) for row in rows])
    return {"input_ids": ids, "attention_mask": ids.ne(0).long(), "labels": torch.stack([r["labels"] for r in rows])}


def to_one_length(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return collate(rows, 24)


def big_bird(attention: str) -> Any:
    sizes = BERT | {"max_position_embeddings": 64, "block_size": 2, "num_random_blocks": 1}
    return BigBirdForSequenceClassification(BigBirdConfig(**sizes, attention_type=attention)).double().eval()


def yoso() -> Any:
    sizes = BERT | {"max_position_embeddings": 64}
    return YosoForSequenceClassification(YosoConfig(**sizes, use_expectation=True)).double().eval()


def long_t5(attention: str) -> Any:
    sizes = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
    config = LongT5Config(**sizes, encoder_attention_type=attention, local_radius=3, global_block_size=4)
    config.decoder_start_token_id = 0
    return LongT5ForConditionalGeneration(config).double().eval()


@pytest.mark.parametrize("build", BUILDERS)
def test_a_model_that_short_texts_change_is_refused_and_stays_as_it_was(build: Any) -> None:
    model = big_bird("block_sparse")
    ids = torch.randint(5, 40, (1, 40), generator=torch.Generator().manual_seed(0))
    expected = model(ids).logits
    with pytest.raises(
        ValueError,
        match=r"changes its attention_type from 'block_sparse' .* load it with attention_type='original_full'",
    ):
        build(model)
    assert model.bert.attention_type == "block_sparse"
    assert torch.equal(model(ids).logits, expected)
    assert all(parameter.requires_grad for parameter in model.parameters())
    build(big_bird("original_full"))


@pytest.mark.parametrize("collating", [collate, to_one_length])
@pytest.mark.parametrize("build", BUILDERS)
def test_taps_that_depend_on_padding_are_not_kept(build: Any, collating: Any, tmp_path: Path) -> None:
    ladder = build(yoso())
    with pytest.raises(ValueError, match=r"states that YosoFor\S* gives a text depend on the padding .*train without"):
        ladder.cache_taps(ROWS, tmp_path, collating, dtype="float64", show_progress=False)
    assert not list(tmp_path.glob("taps-*"))


def test_taps_of_other_models_are_kept_whatever_pads_them(tmp_path: Path) -> None:
    ladder = get_ladder_model(big_bird("original_full"), LadderConfig(reduction=2)).eval()
    live = [ladder(**collate([row])).logits for row in ROWS]
    ladder.use_tap_cache(ladder.cache_taps(ROWS, tmp_path, collate, dtype="float64", show_progress=False))
    together = ladder(**collate(ROWS)).logits
    torch.testing.assert_close(together, torch.cat(live), rtol=0, atol=1e-10)


@pytest.mark.parametrize("attention", ["local", "transient-global"])
def test_what_no_narrow_block_can_do_is_said_and_tuning_from_a_layer_does_without(attention: str) -> None:
    model = long_t5(attention)
    with pytest.raises(
        ValueError, match=r"LongT5Block, .* returns 1 outputs beside its states, not position_bias and"
    ):
        get_ladder_model(model, LadderConfig(reduction=2, init="random"))
    batch = {"input_ids": ROWS[2]["input_ids"][None], "labels": torch.tensor([[7, 8]])}
    tuned = tune_from(model, 1)
    assert torch.equal(tuned(**batch).logits, model(**batch).logits)


def test_an_unknown_encoder_beside_a_known_decoder_is_named() -> None:
    sizes = {"vocab_size": 40, "d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "attention_window": 4}
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    model = LEDForConditionalGeneration(LEDConfig(**sizes, **layers))
    with pytest.raises(ValueError, match="is made of LEDEncoderLayer, which no family describes"):
        get_ladder_model(model, LadderConfig(reduction=2))


def test_a_model_of_several_encoders_without_parts_of_its_own_is_refused() -> None:
    model = CanineForSequenceClassification(CanineConfig(**BERT | {"num_hash_buckets": 16}))
    with pytest.raises(ValueError, match=r"has 3 stacks of blocks .*; expected 1\. Use a model with a single one$"):
        get_ladder_model(model, LadderConfig(reduction=2))
