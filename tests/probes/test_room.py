"""What a model has room for is what it takes: one token more is too long."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    IBertConfig,
    IBertForMaskedLM,
    LongformerConfig,
    LongformerForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from nlpkit.probes import checked_length, padded_length, room_for_tokens

SMALL: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "max_position_embeddings": 30,
}


class Unlimited:
    model_max_length = int(1e30)


@pytest.mark.parametrize(
    ("model", "room"),
    [
        (lambda: BertForMaskedLM(BertConfig(**SMALL)), 30),  # as many positions as tokens in the vocabulary
        (lambda: RobertaForMaskedLM(RobertaConfig(**SMALL)), 28),
        (lambda: RobertaForMaskedLM(RobertaConfig(**SMALL, pad_token_id=4)), 25),
        (lambda: IBertForMaskedLM(IBertConfig(**SMALL)), 28),  # a table of its own kind
        (lambda: LongformerForMaskedLM(LongformerConfig(**SMALL, attention_window=4)), 28),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=1, n_positions=30)), 30),
    ],
)
def test_room_is_what_the_model_takes(model: Any, room: int) -> None:
    made = model().eval()
    assert room_for_tokens(made) == room
    ids = torch.full((1, room + 1), 7)
    made(input_ids=ids[:, :room])
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        made(input_ids=ids)


def test_nothing_limits_relative_positions() -> None:
    model = T5ForConditionalGeneration(T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    assert room_for_tokens(model) is None
    assert checked_length(None, model, Unlimited()) == 512  # type: ignore[arg-type]
    assert checked_length(900, model, Unlimited()) == 900  # type: ignore[arg-type]


def test_a_length_beyond_the_room_is_refused() -> None:
    model = RobertaForMaskedLM(RobertaConfig(**SMALL))
    assert checked_length(None, model, Unlimited()) == 28  # type: ignore[arg-type]
    for wrong in (29, 0):
        with pytest.raises(ValueError, match=f"max_length={wrong}, but RobertaForMaskedLM has room for 28 tokens"):
            checked_length(wrong, model, Unlimited())  # type: ignore[arg-type]


def test_padding_never_exceeds_the_room() -> None:
    for room in (None, 28, 30, 32):
        for longest in range(1, (room or 40) + 1):
            length = padded_length(longest, room)
            assert longest <= length <= (room or 40)
            assert length % 8 == 0 or length == room
