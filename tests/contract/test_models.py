"""Behaviour that every trainable model of nlpkit keeps; a new one is one line in cases.py."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils.generic import find_labels

from tests.contract.cases import CASES, LENGTHS, Case
from tests.contract.one_step import gradient
from tests.contract.other_process import OtherProcess
from tests.contract.processes import run_processes

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert any(tensor.abs().max() > 1e-6 for tensor in expected.values()), "nothing was learnt"
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )


def scores(output: Any) -> dict[str, Tensor]:
    return {name: value for name, value in output.items() if name.endswith("logits")}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert expected
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def label_columns(model: torch.nn.Module) -> list[str]:
    return find_labels(type(model)) or ["labels"]


@each_case
def test_accumulated_steps_equal_one_large_batch(case: Case) -> None:
    assert_same(gradient(case, 2, 4), gradient(case, 8, 1))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    run_processes("tests.contract.one_step", "plain", str(tmp_path), *map(str, CASES))
    for case in CASES:
        assert_same(load_file(tmp_path / f"{case} 4 True.safetensors"), gradient(case, 8, 1))


@each_case
def test_further_padding_changes_nothing(case: Case) -> None:
    model = case.model().double().eval()
    tight, loose = (model(**case.collate(case.rows(), length)) for length in (None, max(LENGTHS) + 9))
    torch.testing.assert_close(loose.loss, tight.loss, rtol=0, atol=1e-10)
    for name, expected in scores(tight).items():
        found = loose[name][tuple(slice(size) for size in expected.shape)]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@each_case
def test_the_order_of_rows_changes_nothing(case: Case) -> None:
    model = case.model().double().eval()
    forwards, backwards = (model(**case.collate(rows, None)).loss for rows in (case.rows(), case.rows()[::-1]))
    torch.testing.assert_close(forwards, backwards, rtol=0, atol=1e-10)


@each_case
def test_a_saved_model_answers_the_same_in_another_process(
    case: Case, tmp_path: Path, other_process: OtherProcess
) -> None:
    model = case.model()
    batch = case.collate(case.rows(), None)
    model(**batch).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval().save_pretrained(tmp_path / "model")
    assert not [
        path.name
        for path in (tmp_path / "model").iterdir()
        if path.suffix not in (".json", ".safetensors", ".txt", ".md")
    ]
    load = case.load or f"{type(model).__name__}.from_pretrained"
    assert_equal(other_process.answers(load, tmp_path / "model", batch), scores(model(**batch)))


@each_case
def test_pickle_and_deepcopy_keep_the_answers(case: Case) -> None:
    model = case.model().eval()
    batch = case.collate(case.rows(), None)
    expected = scores(model(**batch))
    assert_equal(scores(copy.deepcopy(model)(**batch)), expected)
    assert_equal(scores(pickle.loads(pickle.dumps(model))(**batch)), expected)


@each_case
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_losses_and_gradients_stay_finite(case: Case, scale: float, bf16: bool) -> None:
    model = case.model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "classifier" in name or "decoder" in name or "predictions.bias" in name:
                parameter.mul_(scale)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = model(**case.collate(case.rows(), None)).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(found).all() for found in gradients)


@each_case
def test_a_batch_without_labels_of_its_own_costs_nothing(case: Case) -> None:
    model, batch = case.model(), case.collate(case.rows(), None)
    nothing = {name: torch.full_like(batch[name], case.unlabelled) for name in label_columns(model)}
    loss = model(**batch | nothing).loss
    loss.backward()
    assert loss.item() == 0
