"""Reductions that a head's size cannot take alone, so that side blocks have fewer heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from tests.ladder_side_tuning.small_models import BART, BERT, GPT2, LLAMA, T5, answers, small_batch, small_labels

#: Six heads become two, and half as large.
REDUCTION = 6
SIX_HEADS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForSequenceClassification(
        BertConfig(**{**BERT, "hidden_size": 24, "num_attention_heads": 6, "intermediate_size": 48})
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**{**GPT2, "n_embd": 24, "n_head": 6})),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            **{
                **LLAMA,
                "hidden_size": 48,
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "intermediate_size": 48,
            }
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**{**T5, "d_model": 36, "d_kv": 4, "num_heads": 6, "d_ff": 48})),
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(
            **{
                **BART,
                "d_model": 24,
                "encoder_attention_heads": 6,
                "decoder_attention_heads": 6,
                "encoder_ffn_dim": 48,
                "decoder_ffn_dim": 48,
            }
        )
    ),
}


def six_heads(name: str) -> PreTrainedModel:
    torch.manual_seed(11)
    model = SIX_HEADS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def ladder_of(model: PreTrainedModel, **settings: Any) -> Any:
    return get_ladder_model(model, LadderConfig(**{"reduction": REDUCTION, **settings}))


def test_the_blogs_side_blocks_are_a_sixth_of_a_base_model() -> None:
    model = BertModel(BertConfig(vocab_size=9, num_hidden_layers=3))  # else that of BERT-base: 768 wide, 12 heads
    ladder = get_ladder_model(model, LadderConfig(reduction=6, merge="add", layers=1))
    side = ladder.encoder.layer[2].side.block
    attention = side.attention.self
    assert (attention.all_head_size, attention.num_attention_heads, attention.attention_head_size) == (128, 4, 32)
    assert side.intermediate.dense.weight.shape == (512, 128)


@pytest.mark.parametrize("merge", ["gate", "add"])
@pytest.mark.parametrize("name", list(SIX_HEADS))
def test_a_ladder_of_fewer_heads_answers_and_learns(name: str, merge: str) -> None:
    model = six_heads(name)
    ladder = ladder_of(model, merge=merge)
    batch = small_batch(model)
    output = ladder.train()(**batch, **small_labels(model, batch))
    assert answers(output).shape == answers(model(**batch)).shape
    output.loss.backward()
    for key, parameter in ladder.named_parameters():
        if ".side.block." in key:
            assert parameter.grad is not None, key
        elif ".side." not in key and ".enter." not in key and "classifier" not in key and "pooler" not in key:
            assert parameter.grad is None, key


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart"])
def test_generation_with_a_cache_equals_generation_without(name: str, cache: str) -> None:
    model = six_heads(name)
    ladder = ladder_of(model, init="random").eval()
    batch = {key: value[:, :5] for key, value in small_batch(model).items() if not key.startswith("decoder")}
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1 if cache == "static" else 2}
    cached = ladder.generate(**batch, **options, cache_implementation="static" if cache == "static" else None)
    assert torch.equal(cached, ladder.generate(**batch, **options, use_cache=False))


def heads_by_hand(model: Any, layer: int) -> Tensor:
    """The score of each row of each head, shape ``(heads, size of a head)``."""
    block = model.bert.encoder.layer[layer].attention
    rows = sum(getattr(block.self, kind).weight.abs().sum(dim=1) for kind in ("query", "key", "value"))
    rows = rows + block.output.dense.weight.abs().sum(dim=0)
    return rows.view(6, 4)


def test_the_best_heads_are_kept() -> None:
    model: Any = six_heads("bert")
    with torch.no_grad():  # head 5 is the best in what is kept of it, and the worst as a whole
        first = model.bert.encoder.layer[0].attention
        for rows in (
            first.self.query.weight,
            first.self.key.weight,
            first.self.value.weight,
            first.output.dense.weight.T,
        ):
            rows[20:22] *= 1.5
            rows[22:24] = 0
    ladder = ladder_of(model)
    columns = ladder.bert.encoder.layer[0].enter.weight.argmax(dim=1)
    chosen = []
    for layer in range(4):
        scores = heads_by_hand(model, layer)
        best = scores.topk(2).values.sum(dim=1).topk(2).indices.sort().values
        rows = [
            4 * head + column for head in best.tolist() for column in sorted(scores[head].topk(2).indices.tolist())
        ]
        side = ladder.bert.encoder.layer[layer].side.block.attention
        frozen = model.bert.encoder.layer[layer].attention
        assert torch.equal(side.self.query.weight, frozen.self.query.weight[rows][:, columns])
        assert torch.equal(side.output.dense.weight, frozen.output.dense.weight[columns][:, rows])
        chosen.append(best.tolist())
    assert 5 in chosen[0] and len({tuple(best) for best in chosen}) > 1  # each layer has its own


def heads_of_rows(narrow: Tensor, wide: Tensor, columns: Tensor, size: int) -> list[int]:
    """From which head each row of a narrow projection was taken."""
    rows = [(wide[:, columns] == row).all(dim=1).nonzero().item() for row in narrow]
    return [int(row) // size for row in rows]


def test_heads_that_share_a_position_bias_are_the_same_in_all_layers() -> None:
    model: Any = six_heads("t5")
    with torch.no_grad():  # the last layer likes other heads better, but less than the first two like theirs
        for layer, heads in ((0, [1, 4]), (1, [1, 4]), (2, [0, 2])):
            for head in heads:
                model.encoder.block[layer].layer[0].SelfAttention.v.weight[4 * head : 4 * head + 4] *= 20
    ladder = ladder_of(model)
    columns = ladder.encoder.block[0].enter.weight.argmax(dim=1)
    for layer in range(3):
        side = ladder.encoder.block[layer].side.block.layer[0].SelfAttention
        frozen = model.encoder.block[layer].layer[0].SelfAttention
        assert heads_of_rows(side.q.weight, frozen.q.weight, columns, 4) == [1, 1, 4, 4]
    bias = ladder.encoder.block[0].side.block.layer[0].SelfAttention.relative_attention_bias.weight
    assert torch.equal(bias, model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight[:, [1, 4]])


def test_queries_stay_with_the_keys_that_they_read() -> None:
    model: Any = six_heads("llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.k_proj.weight[16:24] *= 20  # the third of three, which heads 4 and 5 read
    ladder = ladder_of(model)
    columns = ladder.model.layers[0].enter.weight.argmax(dim=1)
    side, frozen = ladder.model.layers[1].side.block.self_attn, model.model.layers[1].self_attn
    assert heads_of_rows(side.k_proj.weight, frozen.k_proj.weight, columns, 8) == [2] * 4
    assert heads_of_rows(side.q_proj.weight, frozen.q_proj.weight, columns, 8) == [4] * 4 + [5] * 4
    assert torch.equal(side.q_proj.weight[:4], frozen.q_proj.weight[32:40:2][:, columns])
