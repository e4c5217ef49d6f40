from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, MT5Config, MT5ForConditionalGeneration, T5Config

from nlpkit.mt5 import new_mt5


def small_config() -> MT5Config:
    return MT5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=2, dropout_rate=0.0)


def test_the_head_is_its_own_matrix_after_training_and_saving(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = new_mt5(small_config())
    ids = torch.randint(3, 400, (4, 9))
    loss = model(input_ids=ids, labels=ids).loss
    assert abs(loss.item() - math.log(400) - 0.5) < 0.3
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(loaded(input_ids=ids, labels=ids).logits, model(input_ids=ids, labels=ids).logits)


def test_the_encoder_and_the_decoder_share_the_embedding() -> None:
    model = new_mt5(small_config())
    assert model.encoder.embed_tokens.weight is model.shared.weight is model.decoder.embed_tokens.weight


def test_mt5_small_has_its_published_size() -> None:
    with torch.device("meta"):
        model = new_mt5(MT5Config())
    assert isinstance(model, MT5ForConditionalGeneration)
    assert model.num_parameters() == 300_176_768


def test_other_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="config must be an MT5Config, got T5Config"):
        new_mt5(T5Config())  # type: ignore[arg-type]
