"""Every dependency tree and every binary bracketing of a few units, written down from the definitions."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np


@cache
def all_dependency_trees(length: int, *, single_root: bool = True) -> np.ndarray:
    """All rows of heads (0 the root) from which every unit reaches the root, shape ``(trees, length)``."""
    heads = np.indices((length + 1,) * length).reshape(length, -1).T  # every row of heads there is
    if single_root:
        heads = heads[(heads == 0).sum(axis=1) == 1]
    table = np.concatenate([np.zeros((len(heads), 1), dtype=heads.dtype), heads], axis=1)
    reached = table
    for _ in range(length):
        reached = np.take_along_axis(table, reached, axis=1)
    return heads[(reached == 0).all(axis=1)]


@cache
def all_projective_trees(length: int) -> np.ndarray:
    """The trees with one root in which no two arcs cross, the root's arc from the left end included."""
    trees = all_dependency_trees(length)
    return trees[~_arcs_cross(trees)]


def is_projective(heads: list[int]) -> bool:
    """Whether no two arcs cross, the root's arc from the left end included."""
    return not _arcs_cross(np.array([heads]))[0]


def _arcs_cross(trees: np.ndarray) -> np.ndarray:
    """Whether an arc starts strictly inside another and ends strictly outside it, shape ``(trees,)``."""
    crossing = np.zeros(len(trees), dtype=bool)
    units = np.arange(1, trees.shape[1] + 1)
    starts, ends = np.minimum(trees, units), np.maximum(trees, units)
    for one, other in permutations(range(trees.shape[1]), 2):
        inside = (starts[:, one] < starts[:, other]) & (starts[:, other] < ends[:, one])
        crossing |= inside & (ends[:, one] < ends[:, other])
    return crossing


def is_tree(heads: list[int]) -> bool:
    """Whether there is one root and every unit reaches it."""
    if heads.count(0) != 1 or max(heads) > len(heads):
        return False
    for unit in range(1, len(heads) + 1):
        steps = 0
        while unit != 0:
            unit = heads[unit - 1]
            steps += 1
            if steps > len(heads):
                return False
    return True


def total(impact: np.ndarray, root_scores: np.ndarray, heads: list[int] | np.ndarray) -> float | np.ndarray:
    """Sum of the arcs' scores of one tree, or of many, shape ``(trees, length)``."""
    columns = np.concatenate([root_scores[:, None], impact], axis=1)  # (length, 1 + length): column h is head h
    rows = np.arange(len(impact))
    return columns[rows, np.asarray(heads)].sum(axis=-1)


@cache
def all_bracketings(start: int, end: int) -> list[frozenset[tuple[int, int]]]:
    """All binary trees over the units from start to end, each as its ranges of two units or more."""
    if end - start == 1:
        return [frozenset()]
    return [
        left | right | {(start, end)}
        for middle in range(start + 1, end)
        for left in all_bracketings(start, middle)
        for right in all_bracketings(middle, end)
    ]
