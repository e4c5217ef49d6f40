"""From the distortion of every span to a constituency tree."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.perturbed_masking.trees.constituents import best_bracketing
from nlpkit.perturbed_masking.trees.tree import Tree


def relative_to_width(distortion: ArrayLike) -> NDArray[np.float64]:
    """Distortion divided by the norm of all spans of the same width, which otherwise would decide the tree.

    Source: Li and Lu (2023), arXiv 2306.00645, section 3.3.

    Args:
        distortion: of each half-open range of units, shape ``(n, n + 1)``.

    Returns:
        The same shape; 0 where all spans of a width have 0.

    Example:
        >>> relative_to_width([[0, 0, 3, 0], [0, 0, 0, 4], [0, 0, 0, 0]])[[0, 1], [2, 3]]
        array([0.6, 0.8])
    """
    table = np.array(distortion, dtype=np.float64)
    for width in range(1, len(table) + 1):
        starts = np.arange(len(table) - width + 1)
        norm = np.linalg.norm(table[starts, starts + width])
        table[starts, starts + width] /= norm or 1.0
    return table


def least_distorted(distortion: ArrayLike, *, right_bonus: float = 0.0) -> Tree:
    """The binary tree of the spans that were distorted least.

    Source: Li and Lu (2023), arXiv 2306.00645, section 3.3, where there is no bonus.

    Args:
        distortion: of each half-open range of units, shape ``(n, n + 1)``, ``n`` at least 1.
        right_bonus: as for ``best_bracketing``; scores of one width have norm 1.

    Returns:
        A binary tree; among equal ones, the one that cuts furthest to the left.

    Raises:
        ValueError: the shape is another.

    Note:
        O(n³).

    Example:
        >>> least_distorted([[0, 0, 3, 0], [0, 0, 0, 4], [0, 0, 0, 0]]).outline("abc")
        '((a b) c)'
    """
    table = np.asarray(distortion, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0 or table.shape[1] != len(table) + 1:
        raise ValueError(f"distortion has shape {table.shape}; give (n, n + 1), a score for each start and end")
    return best_bracketing(-relative_to_width(table), right_bonus=right_bonus)
