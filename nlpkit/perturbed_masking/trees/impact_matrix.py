"""What an impact matrix is, checked where it enters a decoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_impact(impact: ArrayLike) -> NDArray[np.float64]:
    """The matrix in double precision.

    Args:
        impact: ``impact[i, j]`` of unit ``j`` on the prediction of unit ``i``, shape ``(n, n)``; ``n`` may be 0.

    Returns:
        Shape ``(n, n)``; the argument itself where it is in double precision already.

    Raises:
        ValueError: not square, or not finite.

    Example:
        >>> as_impact([[0, 1], [2, 0]])
        array([[0., 1.],
               [2., 0.]])
    """
    scores = np.asarray(impact, dtype=np.float64)
    if scores.size == 0 and scores.ndim <= 2:
        return scores.reshape(0, 0)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"impact has shape {scores.shape}; give a square matrix, one row and one column per unit")
    if not np.isfinite(scores).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(scores))[0])
        raise ValueError(f"impact[{row}, {column}] is {scores[row, column]}; give finite numbers")
    return scores
