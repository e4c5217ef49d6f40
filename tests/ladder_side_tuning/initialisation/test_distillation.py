from __future__ import annotations

import pytest
import torch

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.initialisation.distillation import distill, state_distance
from tests.ladder_side_tuning.small_models import set_gates, small_batch, small_model


def test_the_distance_is_in_units_of_the_variance_and_blind_to_padding() -> None:
    wanted = torch.randn(2, 5, 3)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert state_distance(wanted, wanted, mask).item() == 0
    mean = wanted[mask.bool()].mean(dim=0).expand(2, 5, 3)
    assert state_distance(mean, wanted, mask).item() == pytest.approx(1)
    changed = torch.where(mask.bool()[..., None], wanted, 99.0)
    assert state_distance(changed, wanted, mask).item() == 0


@pytest.mark.parametrize("name", ["bert-mlm", "llama", "t5"])
def test_a_side_network_learns_the_backbones_states(name: str) -> None:
    torch.manual_seed(0)
    model = small_model(name)
    frozen = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    ladder = get_ladder_model(model, LadderConfig(reduction=2, dropout=0.0)).eval()
    losses = distill(ladder, [small_batch(model)] * 30, learning_rate=1e-2)
    assert len(losses) == 30
    assert losses[-1] < 0.8 * losses[0]
    assert not ladder.training
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in frozen.items())


def test_the_backbone_beside_itself_has_nothing_to_learn() -> None:
    model = small_model("bert-mlm")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.config.attention_probs_dropout_prob = model.config.hidden_dropout_prob = 0.0
    ladder = get_ladder_model(model, LadderConfig(reduction=1, dropout=0.0))
    set_gates(ladder, torch.inf)
    assert distill(ladder, [small_batch(model)])[0] < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_backbones_in_half_precision_teach_too(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = small_model("bert-mlm").to(dtype)
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    losses = distill(ladder, [small_batch(model)] * 20, learning_rate=1e-2)
    assert losses[-1] < losses[0]


def test_the_init_distills() -> None:
    torch.manual_seed(0)
    model = small_model("bert-mlm")
    batch = small_batch(model)
    ladder = get_ladder_model(model, LadderConfig(reduction=2, init="distill"), batches=[batch] * 3)
    plain = get_ladder_model(model, LadderConfig(reduction=2, init="magnitude"))
    assert not torch.equal(ladder.bert.encoder.side.up.weight, plain.bert.encoder.side.up.weight)
    assert [p for p in ladder.parameters() if p.grad is not None] == []
    with pytest.raises(ValueError, match="distillation needs at least one batch"):
        distill(plain, [])
