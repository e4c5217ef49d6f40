"""Heads of transformers, and of nlpkit, under our Trainer: the gradient of a step is one, however it is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nlpkit.training import FGM
from tests.contract.cases import CASES, Case
from tests.contract.one_step import gradient
from tests.contract.processes import run_processes
from tests.contract.sharded_step import CUTS, SHARDED
from tests.contract.stock_heads import HEADS

ROOT = Path(__file__).resolve().parents[2]
EVERY = [*HEADS, *CASES]
each_head = pytest.mark.parametrize("case", EVERY, ids=str)


def whole(case: Case) -> dict[str, Tensor]:
    return gradient(case, 8, 1, "ours")


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert found.keys() == expected.keys()
    assert any(tensor.abs().max() > 1e-6 for tensor in expected.values()), "nothing was learnt"
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in EVERY}) == len(EVERY), "two processes find a case by its name"


@each_head
def test_one_batch_has_the_gradient_of_the_head_itself(case: Case) -> None:
    model = case.model().double()
    model(**case.collate(case.rows(), None)).loss.backward()
    own = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    found = {name: tensor for name, tensor in whole(case).items() if name in own}
    # Some heads of transformers compute their loss in fp32 whatever they are given.
    assert_same(found, own, tolerance=1e-5)


@each_head
@pytest.mark.parametrize(("batch_size", "accumulation"), [(2, 4), (3, 3)], ids=["2x4", "3x3 with a short last one"])
def test_accumulated_steps_equal_one_large_batch(case: Case, batch_size: int, accumulation: int) -> None:
    assert_same(gradient(case, batch_size, accumulation, "ours"), whole(case))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    run_processes("tests.contract.one_step", "ours", str(tmp_path), *(case.name for case in EVERY))
    for case in EVERY:
        expected = whole(case)
        for batch_size in (4, 2, 1):
            for average in (True, False):
                assert_same(load_file(tmp_path / f"{case.name} {batch_size} {average}.safetensors"), expected)


@pytest.mark.slow
def test_parameters_may_be_sharded(tmp_path: Path) -> None:
    run_processes("tests.contract.sharded_step", str(tmp_path))
    for case in HEADS:
        for batch_size, _ in CUTS if case.name in SHARDED else ():
            expected = gradient(case, 8, 1, "ours", {"techniques": [FGM(0.5)]})
            found = load_file(tmp_path / f"{case.name} {batch_size}.safetensors")
            assert_same(found, {name: tensor for name, tensor in expected.items() if name in found})
