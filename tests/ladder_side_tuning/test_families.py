from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from operator import attrgetter

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import BERT, FAMILIES
from nlpkit.ladder_side_tuning.narrow_blocks import NarrowedConfig
from nlpkit.ladder_side_tuning.stacks import find_stacks
from nlpkit.training.attention import SDPA_IN_FP32
from tests.ladder_side_tuning.small_models import (
    MAKERS,
    RELATIVES,
    SEQ2SEQ,
    answers,
    set_gates,
    small_batch,
    small_model,
)


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
        for model in map(small_model, [*MAKERS, *RELATIVES])
        for stack in find_stacks(model)
    }
    assert tested == {name for family in FAMILIES for name in family.blocks}


def test_an_unknown_block_is_named_with_those_supported_and_how_to_add_it() -> None:
    model = DistilBertModel(DistilBertConfig(vocab_size=9, dim=8, n_layers=2, n_heads=2, hidden_dim=8))
    with pytest.raises(
        ValueError,
        match=r"DistilBertModel is made of TransformerBlock, .* beside BertLayer, .*LlamaDecoderLayer.*BlockFamily",
    ):
        get_ladder_model(model, LadderConfig(reduction=2))


def test_a_family_of_ones_own_makes_it_known() -> None:
    distilbert = replace(
        BERT,
        blocks=("TransformerBlock",),
        width="dim",
        narrowed=("dim", "hidden_dim"),
        heads="n_heads",
        spaces={
            r"(q|k|v)_lin$": ("heads", "hidden"),
            r"out_lin$": ("hidden", "heads"),
            r"lin1$": ("inner", "hidden"),
            r"lin2$": ("hidden", "inner"),
        },
    )
    model = DistilBertModel(DistilBertConfig(vocab_size=9, dim=8, n_layers=2, n_heads=2, hidden_dim=8)).eval()
    ladder = get_ladder_model(model, LadderConfig(reduction=2), families=(*FAMILIES, distilbert))
    assert ladder(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.shape == (1, 3, 8)


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
