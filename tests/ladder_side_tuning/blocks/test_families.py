from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from operator import attrgetter
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, GPTNeoXConfig, GPTNeoXModel

from nlpkit.ladder_side_tuning.blocks.families import BERT, FAMILIES, GPT2
from nlpkit.ladder_side_tuning.blocks.stacks import find_stacks
from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.side.narrow_blocks import NarrowedConfig
from nlpkit.training.attention import SDPA_IN_FP32
from tests.ladder_side_tuning.families_and_heads import FAMILIES as PAGE_FAMILIES
from tests.ladder_side_tuning.families_and_heads import make
from tests.ladder_side_tuning.small_models import (
    BART,
    LLAMA,
    MAKERS,
    RELATIVES,
    SEQ2SEQ,
    answers,
    set_gates,
    small_batch,
    small_model,
)
from tests.ladder_side_tuning.small_models import BERT as BERT_SIZES


@pytest.mark.parametrize("name", MAKERS)
def test_the_stacks_of_every_kind_of_model_are_found(name: str) -> None:
    model = small_model(name)
    stacks = find_stacks(model)
    assert [stack.role for stack in stacks] == (["encoder", "decoder"] if name in SEQ2SEQ else ["encoder"])
    for stack in stacks:
        assert len(stack.blocks(model)) >= 2


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_can_be_their_own_ladders(name: str) -> None:
    model = small_model(name)
    batch = small_batch(model)
    expected = answers(model(**batch))
    ladder = get_ladder_model(model, LadderConfig(reduction=1))
    set_gates(ladder, torch.inf)
    assert torch.equal(answers(ladder(**batch)), expected)


def test_no_kind_of_block_is_promised_without_a_test() -> None:
    tested = {
        type(stack.blocks(model)[0]).__name__
        for model in (make(family, "bare") for family in PAGE_FAMILIES)
        for stack in find_stacks(model)
    }
    assert {name for family in FAMILIES for name in family.blocks} <= tested


def neo_x() -> GPTNeoXModel:
    """Of blocks that no family describes: the heads' queries, keys and values lie in turns."""
    return GPTNeoXModel(
        GPTNeoXConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    )


def test_an_unknown_block_is_named_with_those_supported_and_how_to_add_it() -> None:
    with pytest.raises(
        ValueError,
        match=r"GPTNeoXModel is made of GPTNeoXLayer, .* beside BertLayer, .*LlamaDecoderLayer.*BlockFamily",
    ):
        get_ladder_model(neo_x(), LadderConfig(reduction=2))


def test_a_family_of_ones_own_makes_it_known() -> None:
    own = replace(
        GPT2,
        blocks=("GPTNeoXLayer",),
        width="hidden_size",
        narrowed=("hidden_size", "intermediate_size"),
        heads="num_attention_heads",
        attention_dropout="attention_dropout",
        final_norm=("final_layer_norm",),
    )
    ladder = get_ladder_model(neo_x().eval(), LadderConfig(reduction=1, init="random"), families=(*FAMILIES, own))
    assert ladder(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.shape == (1, 3, 8)


@pytest.mark.parametrize("name", ["megatron-bert", "rembert"])
def test_blocks_of_other_names_are_known_by_what_they_are_made_of(name: str) -> None:
    """And their narrow copies are cut out of them like those of the family."""
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(name, **BERT_SIZES)).eval()
    (stack,) = find_stacks(model)
    assert stack.family is BERT
    assert type(stack.blocks(model)[0]).__name__ not in BERT.blocks
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    assert torch.isfinite(ladder(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state).all()


def test_blocks_of_other_sizes_than_their_settings_say_are_not_known() -> None:
    model = AutoModel.from_config(AutoConfig.for_model("megatron-bert", **BERT_SIZES))
    model.config.hidden_size = 32
    with pytest.raises(ValueError, match="made of MegatronBertLayer, which no family describes"):
        find_stacks(model)


def test_a_model_with_too_many_stacks_is_refused() -> None:
    model = small_model("bert-bare")
    model.second = nn.ModuleList(model.encoder.layer)
    with pytest.raises(ValueError, match=r"BertModel has 2 stacks of blocks \(encoder, \); expected 1"):
        find_stacks(model)


@pytest.mark.parametrize(
    ("name", "reduction", "message"),
    [
        ("bert-bare", 3, "reduction=3 does not divide hidden_size of BertLayer: 16 / 3; use one of 1, 2, 4, 8"),
        ("bert-bare", 16, "reduction=16 does not divide intermediate_size of BertLayer: 24 / 16"),
        ("t5", 16, "reduction=16 does not divide d_ff of T5Block: 24 / 16; use one of 1, 2, 4, 8"),
        (
            "llama",
            8,
            "reduction=8 does not divide num_key_value_heads of LlamaDecoderLayer: 1 / 2; use one of 1, 2, 4",
        ),
        (
            "bart",
            16,
            "reduction=16 does not divide encoder_ffn_dim of BartEncoderLayer: 24 / 16; use one of 1, 2, 4, 8",
        ),
    ],
)
def test_a_reduction_that_does_not_divide_is_refused(name: str, reduction: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_ladder_model(small_model(name), LadderConfig(reduction=reduction))


def test_a_narrowed_view_can_be_copied_and_pickled() -> None:
    view = NarrowedConfig(BertConfig(hidden_size=64), {"hidden_size": 8})
    for found in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert (found.hidden_size, found.hidden_act) == (8, "gelu")
    with pytest.raises(AttributeError, match="no_such_setting"):
        view.no_such_setting  # noqa: B018


def test_side_blocks_follow_the_kind_of_attention() -> None:
    model = BertModel(
        BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    )
    ladder = get_ladder_model(model, LadderConfig(reduction=2)).double().eval()
    ids = torch.tensor([[1, 2, 3]])
    side = ladder.encoder.layer[0].side.block
    assert side.attention.self.config._attn_implementation == SDPA_IN_FP32
    with_sdpa = ladder(ids).last_hidden_state
    ladder.set_attn_implementation("eager")
    assert side.attention.self.config._attn_implementation == "eager"
    torch.testing.assert_close(ladder(ids).last_hidden_state, with_sdpa, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "block", "attribute"),
    [
        ("bert-bare", "encoder.layer.0", "attention.self.dropout.p"),
        ("bart", "model.decoder.layers.0", "self_attn.dropout"),
        ("gpt2", "transformer.h.0", "attn.attn_dropout.p"),
        ("llama", "model.layers.0", "self_attn.attention_dropout"),
    ],
)
def test_attention_dropout_is_the_ladders_own(name: str, block: str, attribute: str) -> None:
    for rate in (0.0, 0.25):
        ladder = get_ladder_model(small_model(name), LadderConfig(reduction=2, attention_dropout=rate))
        assert attrgetter(attribute)(ladder.get_submodule(block).side.block) == rate


MADE_OF_KNOWN_PARTS = {
    **dict.fromkeys(("marian", "m2m_100", "plbart", "blenderbot"), BART),
    "olmo": {name: value for name, value in LLAMA.items() if name != "head_dim"},
}


@pytest.mark.parametrize("init", ["random", "magnitude"])
@pytest.mark.parametrize("kind", MADE_OF_KNOWN_PARTS)
def test_every_side_block_of_a_kind_known_by_its_parts_is_narrow(kind: str, init: str) -> None:
    model = AutoModel.from_config(AutoConfig.for_model(kind, **MADE_OF_KNOWN_PARTS[kind]))
    ladder: Any = get_ladder_model(model, LadderConfig(reduction=2, init=init))  # type: ignore[arg-type]
    for stack in ladder.stacks:
        for rung in ladder.rungs(stack):
            frozen = dict(rung.block.named_parameters())
            for name, parameter in rung.side.block.named_parameters():
                assert [2 * size for size in parameter.shape] == list(frozen[name].shape), name


def test_a_block_of_known_parts_that_is_given_more_is_refused_before_the_model_is_frozen() -> None:
    sizes = {**BERT_SIZES, "pad_token_id": 1, "position_embedding_type": "rotary"}
    model = AutoModel.from_config(AutoConfig.for_model("esm", **sizes))
    with pytest.raises(ValueError, match="EsmModel is made of EsmLayer, whose matrices are of a known kind and whose"):
        get_ladder_model(model, LadderConfig(reduction=2))
    assert all(parameter.requires_grad for parameter in model.parameters())
