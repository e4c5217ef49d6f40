"""The second matrix of a feed-forward layer is told by its place, whatever its width."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.optimizers import amos_rules
from nlpkit.optimizers.blocks import block_stacks, is_matrix
from tests.optimizers.small_models import MODELS, small_model

#: Models whose feed-forward layers are as wide as they are themselves, or as their heads, and the ends of the names.
SQUARE: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "mobilebert": (
        "MobileBertModel",
        {"hidden_size": 32, "intermediate_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16,
         "num_attention_heads": 2, "num_hidden_layers": 2},
        {"output.dense", *(f"ffn.{place}.output.dense" for place in range(3))},
    ),
    "bert": ("BertModel", {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}, {"output.dense"}),
    "t5": ("T5Model", {"d_model": 16, "d_kv": 8, "num_heads": 2, "d_ff": 16}, {"wo"}),
    "t5, gated": (
        "T5Model",
        {"d_model": 16, "d_kv": 16, "num_heads": 2, "d_ff": 32, "feed_forward_proj": "gated-gelu"},
        {"wo"},
    ),
    "bart": (
        "BartModel",
        {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "pad_token_id": 0},
        {"fc2"},
    ),
    "gpt2": ("GPT2Model", {"n_embd": 16, "n_inner": 16, "n_head": 2}, {"mlp.c_proj"}),
    "albert": (
        "AlbertModel",
        {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "embedding_size": 16},
        {"ffn_output"},
    ),
    "bloom": ("BloomModel", {"hidden_size": 16, "n_head": 2, "n_layer": 1}, {"dense_4h_to_h"}),
    "qwen2": (
        "Qwen2Model",
        {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2},
        {"down_proj"},
    ),
    "opt": (
        "OPTModel",
        {"hidden_size": 16, "ffn_dim": 16, "num_attention_heads": 2, "word_embed_proj_dim": 16},
        {"fc2"},
    ),
}  # fmt: skip


def behind(model: nn.Module) -> set[str]:
    """Names within a block, of the stacks' first and last block."""
    found = {rule.parameter for rule in amos_rules(model) if rule.rule == "matrix behind an activation"}
    inner = set()
    for stack, blocks in block_stacks(model).items():
        own = [{name for name in found if name.startswith(f"{stack}.{place}.")} for place in range(len(blocks))]
        assert all(len(block) == len(own[0]) for block in own)
        inner |= {name.removeprefix(f"{stack}.0.").removesuffix(".weight") for name in own[0]}
    return inner


@pytest.mark.parametrize("name", SQUARE)
def test_widths_do_not_matter(name: str) -> None:
    class_name, settings, ends = SQUARE[name]
    made = getattr(transformers, class_name)
    found = behind(made(made.config_class(vocab_size=40, **settings)))
    assert (
        found
        and {max((end for end in ends if place.endswith(end)), key=len, default=place) for place in found} == ends
    )
    assert not any("attention" in place.lower() or "attn" in place for place in found)


@pytest.mark.parametrize("name", MODELS)
def test_every_block_has_one_and_the_model_is_left_as_it_was(name: str) -> None:
    model = small_model(name).train()
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert len(behind(model)) == (2 if "t5" in name else 1)  # a decoder's is behind two attentions
    assert all(module.training for module in model.modules())
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == hooks


def test_trained_layers_inside_of_lora_are_told() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["dense"], r=2, bias="none")
    model = peft.get_peft_model(small_model("bert"), config)
    for module in model.modules():
        if is_matrix(module):
            module.weight.requires_grad_(True)
    assert {name.removesuffix(".base_layer") for name in behind(model)} == {"output.dense"}


class Block(nn.Module):
    """An activation without a module, a gate, and experts of which one runs."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.mixed, self.gate, self.first = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.last = nn.ModuleList(nn.Linear(8, 8) for _ in range(experts))

    def forward(self, states: Tensor) -> Tensor:
        states = states + self.mixed(F.layer_norm(states, (8,)))
        return states + self.last[0](F.dropout(self.gate(states) * F.silu(self.first(states)), 0.1, self.training))


class Model(nn.Module):
    """Its embeddings pass through an activation, which no feed-forward layer of its blocks stands behind."""

    def __init__(self, experts: int = 1) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 8)
        self.blocks = nn.ModuleList(Block(experts) for _ in range(2))
        self.head = nn.Linear(8, 8)

    def forward(self, input_ids: Tensor) -> tuple[Tensor]:
        states = torch.tanh(self.table(input_ids))
        for block in self.blocks:
            states = block(states)
        return (self.head(F.gelu(states)),)


def test_functions_gates_and_experts_are_followed() -> None:
    assert behind(Model()) == {"last.0"}
    assert behind(Model(experts=3)) == {"last.0", "last.1", "last.2"}


class Unused(Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks[0].spare = nn.Linear(8, 8)


class OfImages(Model):
    def forward(self, pixels: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        return super().forward(pixels.long())


def test_what_is_not_seen_is_named_and_may_be_given() -> None:
    with pytest.raises(ValueError, match=r"^Unused does not run blocks.0.spare for a token, .*etas=\{'blocks"):
        amos_rules(Unused())
    rules = {rule.parameter: rule.rule for rule in amos_rules(Unused(), {"*.spare.weight": 0.1})}
    assert rules["blocks.0.spare.weight"] == "given" and "behind" in rules["blocks.0.last.0.weight"]
    with pytest.raises(ValueError, match=r"^which matrices of OfImages stand behind .* failed \(.*input_ids.*etas="):
        amos_rules(OfImages())
    rules = {rule.parameter: rule.rule for rule in amos_rules(OfImages(), {"blocks.*.weight": 0.1})}
    assert rules["blocks.0.last.0.weight"] == "given" and rules["head.weight"] == "matrix"
