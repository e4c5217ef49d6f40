"""Corrections of impact matrices against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nlpkit.perturbed_masking.trees.corrections import (
    average_product_correction,
    lean_on_neighbours,
    proportions,
    relative_to_mean,
    symmetric,
)
from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner, left_chain, right_chain


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


def test_a_pair_stands_out_from_what_its_units_do_to_all_others() -> None:
    generator = np.random.default_rng(0)
    matrix = np.outer(generator.uniform(1, 4, 30), generator.uniform(1, 4, 30))
    assert np.abs(average_product_correction(matrix)).max() < 0.2 * matrix.max()
    place = (3, 7)
    matrix[place] = 10.0
    assert np.unravel_index(matrix.argmax(), matrix.shape) != place
    assert np.unravel_index(average_product_correction(matrix).argmax(), matrix.shape) == place


def test_nothing_stays_nothing() -> None:
    for size in (0, 1, 3):
        assert not average_product_correction(np.zeros((size, size))).any()
        assert not proportions(np.zeros((size, size))).any()
        assert not relative_to_mean(np.zeros((size, size))).any()
        assert not lean_on_neighbours(np.zeros((size, size))).any()


def test_proportions_sum_to_one_and_do_not_read_the_diagonal() -> None:
    matrix = np.random.default_rng(1).random((5, 5))
    found = proportions(matrix)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[2, 4] / found[2, 1], matrix[2, 4] / matrix[2, 1])
    np.fill_diagonal(matrix, 9.0)
    np.testing.assert_array_equal(proportions(matrix), found)


def test_symmetric_is_the_mean_of_both_directions() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    assert symmetric(matrix)[0, 1] == symmetric(matrix)[1, 0] == 2.0


def test_leaning_adds_to_neighbours_alone_and_does_not_depend_on_scale() -> None:
    matrix = np.random.default_rng(2).random((6, 6))
    plain, leant = lean_on_neighbours(matrix), lean_on_neighbours(matrix, before=0.5, after=2.0)
    np.testing.assert_allclose(plain, relative_to_mean(matrix))
    np.testing.assert_allclose(plain[~np.eye(6, dtype=bool)].mean(), 1.0)
    np.testing.assert_allclose(plain[2, 4] / plain[2, 1], matrix[2, 4] / matrix[2, 1])
    for head in range(6):
        for dependent in range(6):
            bonus = {1: 0.5, -1: 2.0}.get(dependent - head, 0.0)
            assert leant[dependent, head] - plain[dependent, head] == pytest.approx(bonus)
    np.testing.assert_allclose(lean_on_neighbours(7 * matrix, before=0.5, after=2.0), leant)


@pytest.mark.parametrize("decode", [eisner, edmonds])
def test_leaning_far_enough_gives_a_chain(decode: Callable[..., list[int]]) -> None:
    matrix = np.random.default_rng(3).random((8, 8))
    assert decode(lean_on_neighbours(matrix, before=1e3), root=1) == left_chain(8)
    assert decode(lean_on_neighbours(matrix, after=1e3), root=8) == right_chain(8)
