from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.ladder_side_tuning.assembly import build_ladder
from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.initialisation.initialise import copy_pruned
from nlpkit.ladder_side_tuning.initialisation.pruning import (
    keep_in_heads,
    keep_largest,
    magnitude_scores,
    squared_gradients,
)
from nlpkit.ladder_side_tuning.modeling import LadderModel
from tests.ladder_side_tuning.small_models import small_batch, small_labels, small_model


@given(scores=st.lists(st.integers(0, 9), min_size=4, max_size=12), data=st.data())
def test_the_largest_are_kept_in_order(scores: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    kept = keep_largest(torch.tensor(scores), count).tolist()
    assert kept == sorted(sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:count])


@given(heads=st.integers(1, 4), seed=st.integers(0, 99), data=st.data())
def test_every_kept_head_keeps_as_many(heads: int, seed: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, heads - 1), min_size=1, unique=True).map(sorted))
    scores = torch.rand(heads, 6, generator=torch.Generator().manual_seed(seed))
    kept = keep_in_heads(scores, 2, torch.tensor(chosen))
    assert (kept // 6).tolist() == [head for head in chosen for _ in range(2)]
    for head in chosen:
        assert scores[head][kept[kept // 6 == head] % 6].sum() == scores[head].topk(2).values.sum()


def residual(ladder: Any, stack: int = 0) -> Tensor:
    """What is kept of the residual stream, read off the projection of the embeddings."""
    selection: Tensor = ladder.stacks[stack].blocks(ladder)[0].enter.weight
    assert torch.equal(selection.sum(dim=1), torch.ones(len(selection)))
    return selection.argmax(dim=1)


def test_side_blocks_are_slices_of_the_backbone() -> None:
    model = small_model("bert-sequence")
    ladder = get_ladder_model(model, LadderConfig(reduction=4, layers=[1, 3]))
    kept = residual(ladder)
    # By hand: the largest columns and rows over all matrices of the residual stream.
    total = torch.zeros(16)
    for layer in model.bert.encoder.layer:
        for module in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value):
            total += module.weight.abs().sum(dim=0)
        total += layer.intermediate.dense.weight.abs().sum(dim=0)
        for module in (layer.attention.output.dense, layer.output.dense):
            total += module.weight.abs().sum(dim=1)
    assert torch.equal(kept, total.topk(4).indices.sort().values)
    block, side = model.bert.encoder.layer[3], ladder.bert.encoder.layer[3].side.block
    heads = (
        sum(getattr(block.attention.self, kind).weight.abs().sum(dim=1) for kind in ("query", "key", "value"))
        + block.attention.output.dense.weight.abs().sum(dim=0)
    ).view(2, 8)
    rows = (heads.topk(2).indices.sort().values + torch.tensor([[0], [8]])).flatten()
    inner = block.intermediate.dense.weight.abs().sum(dim=1) + block.output.dense.weight.abs().sum(dim=0)
    states = inner.topk(6).indices.sort().values
    assert torch.equal(side.attention.self.key.weight, block.attention.self.key.weight[rows][:, kept])
    assert torch.equal(side.attention.self.key.bias, block.attention.self.key.bias[rows])
    assert torch.equal(side.attention.output.dense.weight, block.attention.output.dense.weight[kept][:, rows])
    assert torch.equal(side.intermediate.dense.weight, block.intermediate.dense.weight[states][:, kept])
    assert torch.equal(side.output.dense.weight, block.output.dense.weight[kept][:, states])
    assert torch.equal(side.output.LayerNorm.weight, block.output.LayerNorm.weight[kept])


def test_the_head_reads_sums_as_large_as_behind_dropout() -> None:
    torch.manual_seed(0)
    model = small_model("bert-sequence")
    scores = magnitude_scores(model)
    ladder = get_ladder_model(model, LadderConfig(reduction=4))
    kept = residual(ladder)
    up = ladder.bert.encoder.side.up.weight  # (width, narrow width)
    assert torch.equal(up[kept], 4 * torch.eye(4))
    assert torch.equal(up.sum(), torch.tensor(16.0))
    # Over all choices of a quarter, the head's input is the backbone's on average, as it is behind dropout of 3 / 4.
    states = torch.randn(16)
    landed = []
    for start in range(4):
        chosen = {name: torch.zeros_like(score) for name, score in scores.items()}
        chosen["bert.encoder.layer.0.intermediate.dense.weight"][:, start::4] = 1.0
        copy_pruned(ladder, chosen, gain=4)
        landed.append(up @ states[residual(ladder)])
    torch.testing.assert_close(torch.stack(landed).mean(dim=0), states)


@pytest.mark.parametrize("name", ["t5", "bart", "gpt2", "qwen3"])
def test_every_weight_of_a_side_block_is_one_of_the_backbone(name: str) -> None:
    ladder = get_ladder_model(small_model(name), LadderConfig(reduction=2))
    for stack in ladder.stacks:
        for rung in stack.blocks(ladder):
            for key, weight in rung.side.block.named_parameters():
                assert torch.isin(weight, rung.block.get_parameter(key)).all(), key


def test_a_decoder_reads_of_the_encoder_what_the_encoder_keeps() -> None:
    model = small_model("t5")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    source = residual(ladder, stack=0)
    frozen = model.decoder.block[1].layer[1].EncDecAttention.k.weight
    side = ladder.decoder.block[1].side.block.layer[1].EncDecAttention.k.weight
    assert all(any(torch.equal(row[source], narrow) for row in frozen) for narrow in side)


def test_the_first_kept_layer_holds_the_position_bias_of_the_backbone() -> None:
    model = small_model("t5")
    ladder = get_ladder_model(model, LadderConfig(reduction=2, layers=[1, 2]))
    for part in ("encoder", "decoder"):
        found = ladder.get_submodule(f"{part}.block.1.side.block.layer.0.SelfAttention").relative_attention_bias
        expected = model.get_submodule(f"{part}.block.0.layer.0.SelfAttention").relative_attention_bias
        assert torch.equal(found.weight, expected.weight)


def test_squared_gradients_are_summed_over_batches_and_leave_no_trace() -> None:
    model = small_model("bert-sequence").double().train()
    model.bert.encoder.layer[0].output.dense.weight.requires_grad_(False)
    batch = small_batch(model)
    batches = [{**batch, "labels": torch.tensor(labels)} for labels in ([0, 1], [2, 2])]
    scores = squared_gradients(model, batches)
    assert model.training
    assert [p for p in model.parameters() if p.grad is not None] == []
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "bert.encoder.layer.0.output.dense.weight"
    ]
    model.eval().requires_grad_(True)
    expected = torch.zeros_like(model.classifier.weight)
    for labelled in batches:
        expected += torch.autograd.grad(model(**labelled).loss, model.classifier.weight)[0].square()
    torch.testing.assert_close(scores["classifier.weight"], expected.float(), rtol=1e-6, atol=0)


def test_fisher_keeps_what_the_task_needs() -> None:
    model = small_model("bert-sequence")
    scores = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for name, score in scores.items():
        if name.endswith("layer.2.intermediate.dense.weight"):
            score[:, [3, 9, 11, 14]] = 1.0
    ladder = build_ladder(LadderModel, model, LadderConfig(reduction=4))
    copy_pruned(ladder, scores)
    assert residual(ladder).tolist() == [3, 9, 11, 14]


def test_inits_learn_from_batches_or_not() -> None:
    model = small_model("bert-sequence")
    batch = small_batch(model)
    by_fisher = get_ladder_model(
        model, LadderConfig(reduction=4, init="fisher"), batches=[{**batch, **small_labels(model, batch)}]
    )
    by_magnitude = get_ladder_model(model, LadderConfig(reduction=4, init="magnitude"))
    assert not torch.equal(
        by_fisher.bert.encoder.layer[1].side.block.output.dense.weight,
        by_magnitude.bert.encoder.layer[1].side.block.output.dense.weight,
    )
    for init, labels in (("fisher", "with labels"), ("distill", "without labels will do")):
        with pytest.raises(ValueError, match=f"init='{init}' learns from batches; .* {labels}"):
            get_ladder_model(model, LadderConfig(reduction=4, init=init))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="init='random' uses no batches; leave them out"):
        get_ladder_model(model, LadderConfig(reduction=4, init="random"), batches=[batch])
    with pytest.raises(ValueError, match="init='fisher' needs batches with labels; the model returned no loss"):
        get_ladder_model(model, LadderConfig(reduction=4, init="fisher"), batches=[batch])
    with pytest.raises(ValueError, match="init='fisher' needs at least one batch"):
        get_ladder_model(model, LadderConfig(reduction=4, init="fisher"), batches=[])


def test_magnitudes_are_of_the_weights() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[-2.0, 1.0]])
    assert magnitude_scores(layer)["weight"].tolist() == [[2.0, 1.0]]


def test_random_weights_have_a_scale_that_fits_their_widths() -> None:
    torch.manual_seed(0)
    ladder = get_ladder_model(small_model("t5"), LadderConfig(reduction=2, init="random"))
    attention = ladder.encoder.block[0].side.block.layer[0].SelfAttention
    # Glorot's variance for an 8 x 8 matrix is 1/8; queries are smaller by the root of the size of a head, 4.
    assert attention.k.weight.var().item() == pytest.approx(1 / 8, rel=0.4)
    assert attention.q.weight.var().item() == pytest.approx(1 / 32, rel=0.4)
    assert not attention.relative_attention_bias.weight.any()
    assert not ladder.encoder.block[0].side.down.bias.any()
