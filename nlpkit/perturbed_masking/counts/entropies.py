"""How freely the neighbours of a sequence vary."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nlpkit.perturbed_masking.counts.runs import Keys, Numbers, without_first, without_last

Side = Literal["left", "right"]


def neighbour_entropies(keys: Keys, counts: Numbers, length: int, side: Side) -> tuple[Keys, NDArray[np.float64]]:
    """The entropy of what stands beside each sequence: high where words begin or end, low inside them.

    ``H(x) = - sum over y of p(y | x) log p(y | x)``, where ``y`` is the character, or the border, to the right or to
    the left of ``x``.

    Source: branching entropy (Harris, 1955; Jin and Tanaka-Ishii, 2006).

    Args:
        keys: sequences of ``length + 1`` characters, rising, as ``count_sequences`` gives them.
        counts: of each.
        length: characters of the sequences whose neighbours are asked for.
        side: where the neighbours stand.

    Returns:
        The sequences, rising, and the entropy of each in nats.

    Example:
        >>> from nlpkit.perturbed_masking.counts.runs import count_sequences, find_runs
        >>> found = count_sequences(find_runs("很好，很大，很好，很热").codes, 2)
        >>> sequences, entropies = neighbour_entropies(*found, length=1, side="right")
        >>> dict(zip(map(chr, sequences.tolist()), entropies.round(2).tolist(), strict=True))["很"]
        1.04
    """
    if side == "right":
        sequences = without_last(keys)
    else:
        sequences = without_first(keys, length + 1)
        order = np.argsort(sequences, kind="stable")
        sequences, counts = sequences[order], counts[order]
    if not len(sequences):
        return sequences, np.zeros(0)
    begins = np.flatnonzero(np.concatenate([[True], sequences[1:] != sequences[:-1]]))
    sums = np.add.reduceat(counts, begins)
    logs = np.add.reduceat(counts * np.log(counts), begins)
    return sequences[begins], np.maximum(np.log(sums) - logs / sums, 0.0)
