"""Setting a model's dropout, and drawing it again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
)

from nlpkit.training.dropout import PassesDiffer, set_dropout
from nlpkit.training.random_state import RandomState
from tests.contract.stock_heads import _DECODER


@pytest.mark.parametrize(
    ("cls", "config"), [(LlamaForCausalLM, LlamaConfig), (ModernBertForMaskedLM, ModernBertConfig)]
)
def test_models_without_dropout_by_default_get_some(cls: type[PreTrainedModel], config: type) -> None:
    model = cls(config(**_DECODER)).train()
    ids = torch.arange(5, 13)[None]
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    give_back = set_dropout(model, 0.3)
    assert not torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    drawn = RandomState()
    first = model(input_ids=ids).logits
    drawn.again()
    assert torch.equal(model(input_ids=ids).logits, first)
    give_back()
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


_FEED_FORWARD = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
_STACKS = {f"{stack}_{part}": 1 for stack in ("encoder", "decoder") for part in ("layers", "attention_heads")}
_NARROW = {"d_model": 16, **_FEED_FORWARD, **_STACKS}
_WIDTHS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
#: Modules for it, numbers of modules, numbers of the configuration, and modules that a pass builds.
APPLIED: dict[str, dict[str, Any]] = {
    "bert": _WIDTHS,
    "bart": _NARROW,
    "pegasus": _NARROW,
    "m2m_100": _NARROW,
    "opt": {**_WIDTHS, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "xlm": {"emb_dim": 16, "n_layers": 1, "n_heads": 2},
    "longformer": {**_WIDTHS, "attention_window": 4},
    "big_bird": {**_WIDTHS, "sep_token_id": 3},
    "deberta-v2": _WIDTHS,
    "llama": {**_WIDTHS, "num_key_value_heads": 2},
    "bloom": {"hidden_size": 16, "n_layer": 1, "n_head": 2},
    "falcon": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "persimmon": _WIDTHS,
    "prophetnet": {"hidden_size": 16, **_FEED_FORWARD, **{f"num_{name}": 1 for name in _STACKS}},
}


@pytest.mark.parametrize("name", APPLIED)
def test_every_dropout_of_a_pass_has_the_probability(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []
    functional = F.dropout

    def listening(given: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        found.extend([p] if training else [])
        return functional(given, p, training, inplace)

    monkeypatch.setattr(F, "dropout", listening)
    config = AutoConfig.for_model(name, vocab_size=40, pad_token_id=1, bos_token_id=2, eos_token_id=3, **APPLIED[name])
    for key, value in vars(config).items():
        if ("dropout" in key or "pdrop" in key) and isinstance(value, float):
            setattr(config, key, 0.05)
    model = AutoModel.from_config(config, attn_implementation="eager").train()
    before = config.to_dict()
    give_back = set_dropout(model, 0.37)
    ids = torch.arange(5, 21).view(2, 8)
    model(input_ids=ids, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {}))
    assert set(found) == {0.37}
    give_back()
    assert config.to_dict() == before


def test_passes_are_equal_once_many_numbers_are() -> None:
    some, passes = torch.zeros(20), PassesDiffer("SimCSE", "set some")
    for _ in range(3):
        passes.look(some, some)
    with pytest.raises(ValueError, match="SimCSE: both passes are equal but for rounding, so the model has no"):
        passes.look(some, some)
    passes = PassesDiffer("SimCSE", "set some")
    passes.look(some, some)
    passes.look(some, some + 1)
    for _ in range(99):
        passes.look(some, some)


def test_what_is_no_probability_or_has_no_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout is a probability from 0 to below 1, not 1\.0"):
        set_dropout(nn.Dropout(), 1.0)
    with pytest.raises(ValueError, match=r"Linear has no module with dropout that could be set to 0.1"):
        set_dropout(nn.Linear(2, 2), 0.1)


def test_rows_that_round_by_where_they_stand_are_equal() -> None:
    """In a product of matrices the same row may round in another way elsewhere."""
    some = torch.randn(99)
    passes = PassesDiffer("R-Drop", "give dropout=0.1")
    with pytest.raises(ValueError, match="R-Drop: both passes are equal but for rounding"):
        passes.look(some, some * (1 + 4 * torch.finfo(torch.float32).eps))


def test_no_numbers_and_nan_show_nothing_of_dropout() -> None:
    passes = PassesDiffer("R-Drop", "give dropout=0.1")
    passes.look(torch.zeros(0), torch.zeros(0))  # a micro-batch without labels
    passes.look(torch.full((99,), torch.nan), torch.full((99,), torch.nan))
