"""GELU by tanh in one kernel: the same function, fewer tensors kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
)
from transformers.activations import ACT2FN

from nlpkit.training import fused_gelu

FEED_FORWARD = 48


def mt5() -> PreTrainedModel:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": FEED_FORWARD, "num_layers": 2, "num_heads": 4}
    return MT5ForConditionalGeneration(MT5Config(vocab_size=50, decoder_start_token_id=0, dropout_rate=0.0, **sizes))


def gpt2() -> PreTrainedModel:
    return GPT2Model(GPT2Config(vocab_size=50, n_positions=32, n_embd=32, n_layer=2, n_head=4, n_inner=FEED_FORWARD))


def albert() -> PreTrainedModel:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": FEED_FORWARD}
    return AlbertModel(AlbertConfig(vocab_size=50, embedding_size=16, **sizes))


def loss_and_gradients(model: PreTrainedModel) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    ids = torch.arange(24).view(2, 12)
    more = {"labels": ids} if model.config.is_encoder_decoder else {}
    found = model(input_ids=ids, **more)
    loss = found.loss if more else found.last_hidden_state.square().mean()
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def kept(model: PreTrainedModel) -> int:
    """Numbers in tensors of the feed-forward width that the backward pass will need, each storage once."""
    storages: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.shape[-1] == FEED_FORWARD and tensor.dim() == 3:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model(input_ids=torch.arange(24).view(2, 12), decoder_input_ids=torch.zeros(2, 1, dtype=torch.long))
    assert loss is not None  # the graph lives, so that no storage is used twice
    return sum(tensor.numel() for tensor in storages.values())


@pytest.mark.parametrize("make", [mt5, gpt2, albert])
def test_loss_and_gradients_differ_by_rounding(make: Callable[[], PreTrainedModel]) -> None:
    torch.manual_seed(0)
    model = make().double().eval()
    expected, of_expected = loss_and_gradients(model)
    with fused_gelu(model):
        assert any(isinstance(module, nn.GELU) for module in model.modules())
        found, of_found = loss_and_gradients(model)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(of_found, of_expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_accurate"])
def test_every_name_of_the_formula_is_fused(name: str) -> None:
    model = gpt2()
    for block in model.h:
        block.mlp.act = ACT2FN[name]
    before = [block.mlp.act for block in model.h]
    with pytest.raises(KeyError), fused_gelu(model):
        assert all(type(block.mlp.act) is nn.GELU for block in model.h)
        raise KeyError
    assert all(block.mlp.act is own for block, own in zip(model.h, before, strict=True))


def test_the_backward_pass_keeps_three_tensors_fewer_for_each_layer() -> None:
    model = mt5()
    before = kept(model)
    with fused_gelu(model):
        fewer = before - kept(model)
    rows = 2 * 12 + 2 * 1  # of the encoder's layers and of the decoder's, which are as many
    assert fewer == 3 * 2 * rows * FEED_FORWARD


def test_exact_gelu_is_left_alone() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    model = BertModel(BertConfig(vocab_size=50, **sizes))
    own = model.encoder.layer[0].intermediate.intermediate_act_fn
    with fused_gelu(model):
        assert model.encoder.layer[0].intermediate.intermediate_act_fn is own


def test_a_model_saved_meanwhile_is_the_usual_one(tmp_path) -> None:
    model = mt5()
    with fused_gelu(model):
        model.save_pretrained(tmp_path)
    again = MT5ForConditionalGeneration.from_pretrained(tmp_path)
    assert again.config.dense_act_fn == "gelu_new"
    assert again.state_dict().keys() == model.state_dict().keys()
