"""Setting a model's dropout, and drawing it again."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, ModernBertConfig, ModernBertForMaskedLM, PreTrainedModel

from nlpkit.training.dropout import SameDropout, set_dropout
from tests.contract.stock_heads import _DECODER


@pytest.mark.parametrize(
    ("cls", "config"), [(LlamaForCausalLM, LlamaConfig), (ModernBertForMaskedLM, ModernBertConfig)]
)
def test_models_without_dropout_by_default_get_some(cls: type[PreTrainedModel], config: type) -> None:
    model = cls(config(**_DECODER)).train()
    ids = torch.arange(5, 13)[None]
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert set_dropout(model, 0.3) > 0
    assert not torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    drawn = SameDropout(torch.device("cpu"))
    first = model(input_ids=ids).logits
    drawn.again()
    assert torch.equal(model(input_ids=ids).logits, first)


def test_what_is_no_probability_or_has_no_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout is a probability from 0 to below 1, not 1\.0"):
        set_dropout(nn.Dropout(), 1.0)
    with pytest.raises(ValueError, match=r"Linear has no module with dropout that could be set to 0.1"):
        set_dropout(nn.Linear(2, 2), 0.1)
