"""How many dimensions embeddings of a vocabulary need, by the entropy of the pairs that they can tell apart."""

from __future__ import annotations

from math import ceil, floor, log

import numpy as np

from nlpkit.checked_number import checked_number

#: Dimensions per natural logarithm of the vocabulary: 2 / 0.24.
DIMENSIONS_PER_LOGARITHM = 8.33


def recommend_embedding_dim(vocabulary_size: int, *, exact: bool = False) -> int:
    """The fewest dimensions ``n`` with ``n > 8.33 ln N``, at which word vectors can tell pairs of ``N`` words apart.

    A model of pairs by inner products, ``p(i, j) ~ exp(<u_i, v_j>)``, can be as sharp as its dimensions allow. Taking
    vectors as spread evenly on a sphere of radius ``sqrt(n)``, the entropy of a pair is ``2 ln N + h_n``, and
    dimensions are enough where it reaches 0.

    Source: kexue.fm/archives/7695.

    Args:
        vocabulary_size: words that are told apart.
        exact: find the least ``n`` with ``2 ln N + h_n < 0`` itself, in place of the straight line that ``h_n`` comes
            close to.

    Returns:
        Dimensions, at least 2.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 2.

    Note:
        About the capacity of skip-gram-like models alone. It is no rule for the width of a Transformer, whose states
        carry much more than which word they are of.

    Example:
        >>> recommend_embedding_dim(100_000), recommend_embedding_dim(100_000, exact=True)
        (96, 96)
    """
    checked_number("vocabulary_size", vocabulary_size, least=2, whole=True)
    if not exact:
        return max(2, floor(DIMENSIONS_PER_LOGARITHM * log(vocabulary_size)) + 1)
    wanted = 2 * log(vocabulary_size)
    enough = ceil(10 * wanted) + 10
    low, high = 2, enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wanted + entropy_reduction(middle) < 0 else (middle + 1, high)
    return low


def entropy_reduction(dim: int) -> float:
    """``h_n``: what inner products take off the entropy of a pair, in nats; about ``-0.24 n``.

    ``log E[exp(n cos)] - E[n cos exp(n cos)] / E[exp(n cos)]``, over the angle of two random directions, whose density
    is as ``sin(angle)^(n - 2)``.

    Source: kexue.fm/archives/7695; ``h_n / n`` tends to ``-ln((1 + sqrt(5)) / 2) / 2``.

    Args:
        dim: at least 2.

    Returns:
        Below 0.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 2.

    Example:
        >>> round(entropy_reduction(64), 4), round(entropy_reduction(512), 3)
        (-15.4734, -123.264)
    """
    checked_number("dim", dim, least=2, whole=True)
    angles = (np.arange(_ANGLES) + 0.5) * np.pi / _ANGLES
    cosines, density = np.cos(angles), (dim - 2) * np.log(np.sin(angles))
    tilted = density + dim * cosines
    weights = np.exp(tilted - tilted.max())
    mean = float(weights @ cosines / weights.sum())
    gain = tilted.max() + log(weights.sum()) - log(np.exp(density).sum())
    return float(gain - dim * mean)


#: Points of the integral; peaks are about ``1 / sqrt(dim)`` wide, so that there are hundreds under each.
_ANGLES = 50_000
