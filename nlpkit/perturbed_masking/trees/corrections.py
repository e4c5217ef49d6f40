"""Corrections of an impact matrix before it is decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_product_correction(impact: ArrayLike) -> NDArray[np.float64]:
    """Remove what a unit does to all others and what all others do to it; what stands out from both is left.

    Some units have impact on everything, and everything has impact on some; a tree of raw impact attaches all to them.
    ``F[i, j] - row mean of i * column mean of j / mean of all``, means over the pairs alone.

    Source: Dunn et al. (2008), for contacts in proteins from mutual information.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.

    Returns:
        Shape ``(n, n)``, the diagonal 0; negative for pairs with less impact than their units would suggest. Zeros
        where there is no impact at all.

    Example:
        >>> average_product_correction(np.outer([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))[0]
        array([0.  , 0.  , 0.25])
    """
    scores = np.array(impact, dtype=np.float64)
    np.fill_diagonal(scores, 0.0)
    size = len(scores)
    if size < 2 or not scores.sum():
        return np.zeros_like(scores)
    rows, columns = (scores.sum(axis=axis, keepdims=True) / (size - 1) for axis in (1, 0))
    corrected = scores - rows * columns / (scores.sum() / (size * (size - 1)))
    np.fill_diagonal(corrected, 0.0)
    return corrected


def proportions(impact: ArrayLike) -> NDArray[np.float64]:
    """Each row divided by its sum: the share that each other unit has in all impact on this one.

    Units differ in how much impact they receive; proportions keep the largest rows from deciding a tree's score.

    Args:
        impact: shape ``(n, n)``, not negative; the diagonal is not read.

    Returns:
        Shape ``(n, n)``: rows sum to 1, or to 0 where there is no impact; the diagonal is 0.

    Example:
        >>> proportions([[0.0, 3.0, 1.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
        array([[0.  , 0.75, 0.25],
               [0.5 , 0.  , 0.5 ],
               [0.  , 0.  , 0.  ]])
    """
    scores = np.array(impact, dtype=np.float64)
    np.fill_diagonal(scores, 0.0)
    sums = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, sums, out=np.zeros_like(scores), where=sums != 0)


def symmetric(impact: ArrayLike) -> NDArray[np.float64]:
    """The mean impact of each pair in both directions: how near two units are, not which governs which.

    Args:
        impact: shape ``(n, n)``.

    Returns:
        Shape ``(n, n)``.

    Example:
        >>> symmetric([[0.0, 3.0], [1.0, 0.0]])
        array([[0., 2.],
               [2., 0.]])
    """
    scores = np.asarray(impact, dtype=np.float64)
    return (scores + scores.T) / 2


def relative_to_mean(impact: ArrayLike) -> NDArray[np.float64]:
    """Impact in units of its mean over the pairs, so that one bonus suits short sentences and long ones.

    Args:
        impact: shape ``(n, n)``, not negative; the diagonal is not read.

    Returns:
        Shape ``(n, n)``, the diagonal 0. Zeros where there is no impact at all.

    Example:
        >>> relative_to_mean([[0.0, 3.0], [1.0, 0.0]])
        array([[0. , 1.5],
               [0.5, 0. ]])
    """
    scores = np.array(impact, dtype=np.float64)
    np.fill_diagonal(scores, 0.0)
    size = len(scores)
    return scores / (scores.sum() / max(size * (size - 1), 1) or 1.0)


def lean_on_neighbours(impact: ArrayLike, *, before: float = 0.0, after: float = 0.0) -> NDArray[np.float64]:
    """Impact in units of its mean, with a bonus for the nearest words as heads: what the chains know, in two numbers.

    Most heads stand next to their dependents, in some languages more often before than after them. Impact says which
    do not. With large bonuses every decoder gives a chain.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.
        before: bonus for the unit before a dependent as its head; 1 is the mean impact of a pair.
        after: the same for the unit after it.

    Returns:
        Shape ``(n, n)``, the diagonal 0.

    Example:
        >>> lean_on_neighbours([[0.0, 1.0, 3.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]], before=1.0)
        array([[0. , 0.5, 1.5],
               [2. , 0. , 1. ],
               [1. , 2. , 0. ]])
    """
    scores = relative_to_mean(impact)
    place = np.arange(len(scores) - 1)
    scores[place + 1, place] += before
    scores[place, place + 1] += after
    return scores
