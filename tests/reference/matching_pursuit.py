"""Orthogonal matching pursuit for one target at a time, in plain loops, from the paper's algorithm alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def combine(
    dictionary: NDArray[np.float64], target: NDArray[np.float64], sparsity: int
) -> tuple[list[int], list[float]]:
    """Which rows are taken, in order, and their coefficients."""
    taken: list[int] = []
    coefficients: list[float] = []
    left = target.copy()
    for _ in range(sparsity):
        best, best_likeness = -1, -1.0
        for row in range(len(dictionary)):
            likeness = abs(float(dictionary[row] @ left)) / float(np.linalg.norm(dictionary[row]))
            if row not in taken and likeness > best_likeness:
                best, best_likeness = row, likeness
        taken.append(best)
        solved = np.linalg.lstsq(dictionary[taken].T, target, rcond=None)[0]
        coefficients = [float(number) for number in solved]
        left = target - dictionary[taken].T @ solved
    return taken, coefficients
