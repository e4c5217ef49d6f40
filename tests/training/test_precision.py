"""The choice of precision follows what the processor does; fp16 weights are not trained."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from nlpkit.training import precision, refuse_fp16_training
from nlpkit.training.precision import bf16_is_fast

CPU_FACTS = Path("/proc/cpuinfo")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU decides")
@pytest.mark.skipif(platform.machine() != "x86_64" or not CPU_FACTS.exists(), reason="reads Linux' list of x86 flags")
def test_bf16_is_fast_where_the_processor_has_units_for_it():
    flags = set(CPU_FACTS.read_text(encoding="utf-8").split())
    if "amx_tile" in flags:
        assert bf16_is_fast()
    elif "avx512_bf16" not in flags:
        assert not bf16_is_fast()


@pytest.mark.parametrize(("bf16", "fp32", "expected"), [(1.0, 2.0, True), (2.0, 1.0, False), (0.9, 1.0, False)])
@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU decides")
def test_without_units_of_its_own_the_shorter_time_decides(
    bf16: float, fp32: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    times = {torch.bfloat16: bf16, torch.float32: fp32}
    monkeypatch.setattr("nlpkit.training.precision._time_of_products", lambda dtype, **_: times[dtype])
    assert bf16_is_fast.__wrapped__() is expected


def test_what_is_slow_is_not_measured_at_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated products take as long as fifty; a few of them tell enough."""
    measured = []
    monkeypatch.setattr("timeit.repeat", lambda *_, **__: [measured.append(1) or 0.1])
    assert precision._time_of_products(torch.float32, patience=0.35) == 0.1
    assert len(measured) == 4
    precision._time_of_products(torch.float32, patience=1e9)
    assert len(measured) == 4 + precision._PRODUCTS


def test_the_choice_is_the_same_each_time():
    """A run that is gone on with must find the precision that it began with."""
    measure = bf16_is_fast.__wrapped__
    assert {measure() for _ in range(5)} == {bf16_is_fast()}


def test_the_choice_does_not_depend_on_where_it_is_made():
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"), torch.inference_mode():
        assert bf16_is_fast.__wrapped__() == bf16_is_fast()


def test_fp16_parameters_are_not_trained():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).half())
    with pytest.raises(ValueError, match=r"'1\.weight' and 1 more.*dtype=\"float32\""):
        refuse_fp16_training(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_parameters_of_other_dtypes_are_trained(dtype):
    refuse_fp16_training(torch.nn.Linear(2, 2).to(dtype))


def test_frozen_fp16_parameters_may_stand_beside_trained_ones():
    refuse_fp16_training(
        torch.nn.Sequential(torch.nn.Linear(2, 2).half().requires_grad_(False), torch.nn.Linear(2, 2))
    )
