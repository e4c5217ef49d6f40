"""Every tensor of a model has a rule, of its own kind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel

from nlpkit.optimizers import Amos, amos_param_groups, amos_rules
from tests.optimizers.small_models import MODELS, small_model


def by_name(model: nn.Module, **options: Any) -> dict[str, tuple[str, float, int | None]]:
    return {rule.parameter: rule[1:] for rule in amos_rules(model, **options)}


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_has_a_rule_and_is_trained(name: str) -> None:
    model = small_model(name)
    names = [name for name, _ in model.named_parameters()]
    assert [rule.parameter for rule in amos_rules(model)] == names
    optimizer = Amos(amos_param_groups(model), lr=0.01)
    assert sorted(name for group in optimizer.param_groups for name in group["names"]) == sorted(names)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    ids = torch.arange(1, 9).view(1, 8)
    model(input_ids=ids, labels=ids if "sequence" not in name else torch.tensor([0])).loss.backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert len(moved) > len(names) - 6  # keys' biases have no gradient but rounding


def test_the_scales_are_those_of_the_published_bert() -> None:
    rules = by_name(small_model("bert"))
    layer = "bert.encoder.layer.1"
    assert rules["bert.embeddings.word_embeddings.weight"] == ("embedding", math.sqrt(2 / 16), 0)  # tied with the head
    assert "cls.predictions.decoder.weight" not in rules
    assert rules["bert.embeddings.position_embeddings.weight"] == ("embedding", math.sqrt(2 / 16), 0)
    assert rules[f"{layer}.attention.self.query.weight"] == ("matrix", 0.25, 0)
    assert rules[f"{layer}.intermediate.dense.weight"] == ("matrix", 0.25, 0)
    assert rules[f"{layer}.output.dense.weight"] == ("matrix behind an activation", math.sqrt(2 / 24), 0)
    assert rules[f"{layer}.output.LayerNorm.weight"] == ("norm", 1.0, None)
    assert rules[f"{layer}.output.LayerNorm.bias"] == rules["cls.predictions.bias"] == ("bias", 0.5, None)


def test_other_families() -> None:
    gpt2 = by_name(small_model("gpt2"))
    assert gpt2["transformer.h.0.attn.c_attn.weight"] == ("matrix", 0.25, 1)
    assert gpt2["transformer.h.0.mlp.c_proj.weight"] == ("matrix behind an activation", math.sqrt(2 / 64), 1)
    t5 = by_name(small_model("t5"))
    place = "encoder.block.0.layer.0.SelfAttention"
    assert t5[f"{place}.o.weight"] == ("matrix", math.sqrt(1 / 32), 0)
    assert t5[f"{place}.relative_attention_bias.weight"] == ("relative position", 0.5, 0)
    assert t5["decoder.block.1.layer.2.DenseReluDense.wo.weight"] == (
        "matrix behind an activation",
        math.sqrt(0.05),
        0,
    )
    assert t5["encoder.final_layer_norm.weight"] == ("norm", 1.0, None)
    llama = by_name(small_model("llama"))
    assert llama["model.layers.0.mlp.down_proj.weight"] == ("matrix behind an activation", math.sqrt(2 / 24), 0)
    assert llama["lm_head.weight"] == ("matrix", 0.25, 0)
    assert llama["model.norm.weight"] == ("norm", 1.0, None)
    small = DistilBertModel(DistilBertConfig(vocab_size=9, dim=16, hidden_dim=24, n_layers=1, n_heads=2))
    assert by_name(small)["transformer.layer.0.ffn.lin2.weight"][0] == "matrix behind an activation"


def test_lora_has_scales_of_its_own() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["query"], r=4, lora_alpha=8)
    rules = by_name(peft.get_peft_model(small_model("bert"), config))
    assert {rule for name, rule in rules.items() if "lora_A" in name} == {("lora A", 0.25, 0)}
    assert {rule for name, rule in rules.items() if "lora_B" in name} == {("lora B", 1 / (2 * math.sqrt(4)), 0)}
    assert len(rules) == 4


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.dense = nn.Parameter(torch.ones(2, 3, 4)), nn.Linear(4, 4)


def test_tensors_without_a_rule_are_named() -> None:
    with pytest.raises(ValueError, match=r"no scale for table \(2, 3, 4\): give one by name, etas=\{'table': 0.5\}"):
        amos_rules(Odd())
    rules = by_name(Odd(), etas={"tab*": 0.1, "dense.weight": 0.2})
    assert rules["table"] == ("given", 0.1, None)
    assert rules["dense.weight"] == ("given", 0.2, 0)
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"etas\['\*'\]={wrong}: give a finite number above 0"):
            amos_rules(Odd(), etas={"*": wrong})
    with pytest.raises(ValueError, match=r"etas: tables match no trained tensor of Odd"):
        amos_rules(Odd(), etas={"*": 0.1, "tables": 0.1})
