from __future__ import annotations

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from nlpkit.mt5 import new_mt5
from nlpkit.vocabulary_pruning.models.rows import gathered, model_with_rows, vocabulary_tables

SMALL = MT5Config()
BASE = MT5Config(d_model=768, d_ff=2048, num_layers=12, num_heads=12)
QWEN = Qwen3Config(
    hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
    head_dim=128, tie_word_embeddings=True,
)  # fmt: skip


def weightless(config: MT5Config | Qwen3Config) -> PreTrainedModel:
    """A model of that shape on the meta device."""
    with torch.device("meta"):
        return new_mt5(config) if isinstance(config, MT5Config) else Qwen3ForCausalLM(config)


def cut(model: PreTrainedModel, rows: int) -> PreTrainedModel:
    tables = vocabulary_tables(type(model), model.config)
    return model_with_rows(model, tables, gathered(torch.arange(rows)), rows)


@pytest.mark.parametrize(
    ("config", "rows", "before", "after"),
    [
        (SMALL, 32_598, 300_176_768, 77_442_432),
        (SMALL, 50_000, 300_176_768, 95_262_080),
        (BASE, 32_598, 582_401_280, 248_299_776),
        (BASE, 50_000, 582_401_280, 275_029_248),
        (QWEN, 32_598, 596_049_920, 473_847_808),
    ],
)  # fmt: skip
def test_published_sizes(config: MT5Config | Qwen3Config, rows: int, before: int, after: int) -> None:
    model = weightless(config)
    assert model.num_parameters() == before
    assert cut(model, rows).num_parameters() == after


def test_only_weights_that_grow_with_the_vocabulary_are_tables() -> None:
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    config = BertConfig(vocab_size=12, max_position_embeddings=12, **sizes)  # where shapes alone tell nothing
    assert vocabulary_tables(BertModel, config) == {"embeddings.word_embeddings.weight": 0}


def test_weights_are_the_rows_and_nothing_is_shared_with_the_old_model() -> None:
    torch.manual_seed(0)
    model = new_mt5(MT5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    model.shared.weight.requires_grad_(False)
    tables = vocabulary_tables(MT5ForConditionalGeneration, model.config)
    found = model_with_rows(model, tables, gathered(torch.tensor([0, 1, 2, 7])), 4)
    assert isinstance(found, MT5ForConditionalGeneration)
    assert torch.equal(found.lm_head.weight, model.lm_head.weight[[0, 1, 2, 7]])
    assert found.shared.weight is found.encoder.embed_tokens.weight
    assert (found.shared.weight.requires_grad, found.lm_head.weight.requires_grad) == (False, True)
    with torch.no_grad():
        found.encoder.final_layer_norm.weight += 1
    assert torch.equal(model.encoder.final_layer_norm.weight, torch.ones(8))
