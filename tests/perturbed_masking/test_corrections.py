"""Corrections of impact matrices against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from nlpkit.perturbed_masking.corrections import average_product_correction, symmetric


@pytest.mark.parametrize("size", [2, 3, 7])
def test_average_product_correction_is_its_formula(size: int) -> None:
    matrix = np.random.default_rng(size).random((size, size))
    found = average_product_correction(matrix)
    others = [[j for j in range(size) if j != i] for i in range(size)]
    every = np.mean([matrix[i, j] for i in range(size) for j in others[i]])
    for i in range(size):
        assert found[i, i] == 0
        for j in others[i]:
            row = np.mean([matrix[i, k] for k in others[i]])
            column = np.mean([matrix[k, j] for k in others[j]])
            assert found[i, j] == pytest.approx(matrix[i, j] - row * column / every)


def test_a_unit_that_sways_everything_alike_no_longer_stands_out() -> None:
    matrix = np.ones((4, 4))
    matrix[:, 2] = 9.0
    assert np.abs(average_product_correction(matrix)[[0, 1, 3], 2]).max() < np.abs(matrix - 1).max() / 4


def test_nothing_stays_nothing() -> None:
    for size in (0, 1, 3):
        assert not average_product_correction(np.zeros((size, size))).any()


def test_symmetric_is_the_mean_of_both_directions() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    assert symmetric(matrix)[0, 1] == symmetric(matrix)[1, 0] == 2.0
