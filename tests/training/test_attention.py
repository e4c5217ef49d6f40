"""Attention in fp32 under bf16 autocast: the same numbers, closer to fp32, with the masks of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedModel, T5Config, T5EncoderModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from nlpkit.training.attention import SDPA_IN_FP32, fast_attention, sdpa_in_fp32

WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def bert() -> PreTrainedModel:
    return BertModel(BertConfig(vocab_size=50, **WIDTHS))


def llama() -> PreTrainedModel:
    return LlamaModel(LlamaConfig(vocab_size=50, num_key_value_heads=2, **WIDTHS))


def t5() -> PreTrainedModel:
    return T5EncoderModel(T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4))


def states_and_gradients(model: PreTrainedModel, attention: str, autocast: bool) -> tuple[Tensor, list[Tensor]]:
    model.set_attn_implementation(attention)
    model.zero_grad()
    ids = torch.arange(24).view(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()[mask.bool()]
    states.square().mean().backward()
    return states.detach(), [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("make", [bert, llama, t5])
def test_without_bf16_it_is_that_of_transformers(make) -> None:
    torch.manual_seed(0)
    model = make().eval()
    expected, found = (states_and_gradients(model, name, autocast=False) for name in ("sdpa", SDPA_IN_FP32))
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(one, other) for one, other in zip(found[1], expected[1], strict=True))


@pytest.mark.parametrize("make", [bert, llama, t5])
def test_under_autocast_states_and_gradients_stay_as_near_to_fp32(make) -> None:
    torch.manual_seed(0)
    model = make().eval()
    exact, _ = states_and_gradients(model, "eager", autocast=False)
    usual, _ = states_and_gradients(model, "sdpa", autocast=True)
    found, gradients = states_and_gradients(model, SDPA_IN_FP32, autocast=True)
    assert 0 < (found - exact).abs().mean() <= 1.1 * (usual - exact).abs().mean()
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_bf16_layer_gets_what_fp32_gives_it() -> None:
    torch.manual_seed(0)
    layer = nn.Module()
    states = [torch.randn(2, 3, 5, 4).bfloat16().requires_grad_() for _ in range(3)]
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    found, maps = sdpa_in_fp32(layer, *states, mask, scaling=0.3)
    expected, _ = sdpa_attention_forward(layer, *[state.float() for state in states], mask, scaling=0.3)
    assert maps is None
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16(), rtol=0, atol=0)
    additive = torch.zeros(2, 1, 5, 5, dtype=torch.bfloat16).masked_fill(~mask, torch.finfo(torch.bfloat16).min)
    torch.testing.assert_close(sdpa_in_fp32(layer, *states, additive, scaling=0.3)[0], found, rtol=0, atol=0)


def test_a_saved_model_does_not_ask_for_it(tmp_path) -> None:
    model = bert()
    model.set_attn_implementation(SDPA_IN_FP32)
    model.save_pretrained(tmp_path)
    assert SDPA_IN_FP32 not in (tmp_path / "config.json").read_text("utf-8")
    assert BertModel.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_a_model_has_its_own_attention_again_whatever_happens() -> None:
    model = bert()
    with pytest.raises(KeyError), fast_attention(model):
        assert model.config._attn_implementation == SDPA_IN_FP32
        raise KeyError
    assert model.config._attn_implementation == "sdpa"


def test_attention_that_somebody_chose_is_left_alone() -> None:
    model = bert()
    model.set_attn_implementation("eager")
    with fast_attention(model):
        assert model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "eager"
