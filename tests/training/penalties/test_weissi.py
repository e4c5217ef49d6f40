"""The penalty on weights that scale shifted between layers leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpkit.training import WeightScaleInvariant
from nlpkit.training.penalties.weissi import weight_scale_invariant_penalty
from tests.contract.one_step import gradient
from tests.contract.stock_heads import HEADS
from tests.contract.test_stock_heads import assert_same

ROWS = next(case for case in HEADS if case.name == "BertForSequenceClassification")


@given(st.lists(st.floats(0.2, 5.0), min_size=2, max_size=4), st.integers(0, 99))
def test_shifting_scale_between_layers_with_relu_changes_neither_function_nor_penalty(
    factors: list[float], seed: int
) -> None:
    drawn = torch.Generator().manual_seed(seed)
    weights = [torch.randn(3, 3, generator=drawn, dtype=torch.float64) for _ in range(len(factors) + 1)]
    last = 1 / torch.tensor(factors, dtype=torch.float64).prod()
    shifted = [factor * weight for factor, weight in zip([*factors, last], weights, strict=True)]

    def function(layers: list[Any]) -> Any:
        states = torch.ones(3, dtype=torch.float64)
        for layer in layers:
            states = (layer @ states).relu()
        return states

    torch.testing.assert_close(function(shifted), function(weights))
    penalties = [weight_scale_invariant_penalty(layers, 0.7, 0.3) for layers in (weights, shifted)]
    torch.testing.assert_close(*penalties, rtol=0, atol=1e-9)
    decay = [sum(layer.square().sum() for layer in layers) for layers in (weights, shifted)]
    if max(factors) > 2:
        assert decay[0] != pytest.approx(decay[1])


def test_it_has_the_papers_value_and_stops_at_the_floor() -> None:
    weights = [torch.randn(3, 4, dtype=torch.float64) for _ in range(2)]
    norms = [weight.square().sum().sqrt() for weight in weights]
    expected = 0.5 * sum(norm.log() for norm in norms)
    expected = expected + 0.2 * sum((weight / norm).abs().sum() for weight, norm in zip(weights, norms, strict=True))
    torch.testing.assert_close(weight_scale_invariant_penalty(weights, 0.5, 0.2), expected)
    for small in (torch.full((2, 2), 1e-6), torch.zeros(2, 2)):
        leaf = small.requires_grad_()
        weight_scale_invariant_penalty([leaf], 1.0, 0.0).backward()
        assert leaf.grad is not None
        assert (leaf.grad == 0).all()


def test_it_is_there_once_in_a_step_however_that_is_cut() -> None:
    chosen = ["classifier.weight", "bert.pooler.dense.weight"]
    plain = gradient(ROWS, 8, 1, "ours")
    model = ROWS.model().double()
    (0.5 * weight_scale_invariant_penalty([model.get_parameter(name) for name in chosen], 0.4, 0.1)).backward()
    for size, steps in ((8, 1), (2, 4), (3, 3)):
        technique = WeightScaleInvariant(0.5, parameters=chosen, l1=0.4, l2=0.1)
        found = gradient(ROWS, size, steps, "ours", {"techniques": [technique]})
        added = {name: found[name] - plain[name] for name in chosen}
        assert_same(added, {name: model.get_parameter(name).grad for name in chosen})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["classifier"], "WeightScaleInvariant: no trained parameter is called 'classifier'"),
        (lambda name, p: False, "parameters chooses none of the 41 that are trained, such as 'bert.emb"),
        ([], "parameters chooses none of the 41 that are trained"),
    ],
)
def test_parameters_that_are_none_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient(ROWS, 8, 1, "ours", {"techniques": [WeightScaleInvariant(parameters=parameters)]})
