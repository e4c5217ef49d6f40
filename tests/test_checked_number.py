"""Numbers within their range are given back, and others are refused by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from nlpkit.checked_number import checked_number


@pytest.mark.parametrize("given", [0, 0.5, np.float32(0.25), np.int64(0), 1e-300])
def test_a_number_within_its_range_is_given_back(given: Any) -> None:
    assert checked_number("rate", given, least=0, below=1) is given


@pytest.mark.parametrize(
    ("given", "limits", "message"),
    [
        (float("nan"), {}, "rate=nan: give a finite number"),
        (float("inf"), {"least": 0}, "rate=inf: give a finite number at least 0"),
        (-float("inf"), {"most": 0}, "rate=-inf: give a finite number at most 0"),
        (np.float64("nan"), {"above": 0}, "rate=np.float64(nan): give a finite number above 0"),
        (-1e-300, {"least": 0}, "rate=-1e-300: give a finite number at least 0"),
        (0, {"above": 0, "hint": "e.g. 1"}, "rate=0: give a finite number above 0; e.g. 1"),
        (1, {"least": 0, "below": 1}, "rate=1: give a finite number at least 0 and below 1"),
        (1.5, {"least": 0, "most": 1}, "rate=1.5: give a finite number at least 0 and at most 1"),
        (0, {"least": 1, "whole": True}, "rate=0: give a whole number at least 1"),
    ],
)
def test_what_lies_outside_is_refused_by_name(given: Any, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        checked_number("rate", given, **limits)


@pytest.mark.parametrize("given", [None, "0.5", True, 1j, torch.tensor(0.5), [0.5]])
def test_what_is_no_number_is_refused_by_name(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^rate=.*: give a finite number at least 0$"):
        checked_number("rate", given, least=0)


@pytest.mark.parametrize("given", [2.0, np.float32(2), 2.5])
def test_a_fraction_is_no_whole_number(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^rate=.*: give a whole number at least 1$"):
        checked_number("rate", given, least=1, whole=True)
