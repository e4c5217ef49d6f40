"""The perturbed copies of sentences: what each of them masks, and which of its rows are then read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpkit.perturbed_masking.impact.units import Units


def masked_units(count: int, reach: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which units the copies of a sentence mask: each alone, then each pair, once for both directions.

    Args:
        count: units of the sentence.
        reach: pairs farther apart than this many units are left out; ``None`` keeps all.

    Returns:
        First and second masked unit of each copy, equal where it masks one, both ``(copies,)``: ``n (n + 1) / 2``
        copies, ``2 n - 1`` with a reach of 1, and none for a single unit, on which nothing has impact.

    Example:
        >>> [column.tolist() for column in masked_units(3)]
        [[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    """
    if count < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, second = np.triu_indices(count, k=1)
    near = second - first <= (count if reach is None else reach)
    alone = np.arange(count)
    return np.concatenate([alone, first[near]]), np.concatenate([alone, second[near]])


def count_copies(count: int, reach: int | None = None) -> int:
    """How many copies ``masked_units`` makes of a sentence.

    Example:
        >>> count_copies(20), count_copies(20, reach=1)
        (210, 39)
    """
    if count < 2:
        return 0
    reach = count - 1 if reach is None else min(reach, count - 1)
    return count + reach * (2 * count - reach - 1) // 2


class Batch(NamedTuple):
    """Perturbed copies of one length, and the rows to read of them, in the order of copies and positions.

    Args:
        input_ids: masked copies, shape ``(copies, length)``.
        copies: the copy of each row, shape ``(rows,)``.
        positions: its position, shape ``(rows,)``.
        sentences: the number of its sentence in the group, shape ``(rows,)``.
        units: the unit that it belongs to, shape ``(rows,)``.
        others: the unit masked beside that one, or the same where it is masked alone, shape ``(rows,)``.
    """

    input_ids: Tensor
    copies: Tensor
    positions: Tensor
    sentences: Tensor
    units: Tensor
    others: Tensor


class LengthGroup:
    """Sentences with the same number of tokens; their copies go through the model together, without any padding.

    Each sentence's copies with one unit masked come before those with two, so what the latter are compared with is
    there in time.

    Args:
        sentences: of one length, special tokens included.
        mask_id: the mask token.
        reach: as for ``masked_units``.

    Example:
        >>> units = Units("ab", words=("a", "b"), token_ids=(2, 5, 6, 7, 3), owners=(-1, 0, 0, 1, -1))
        >>> group = LengthGroup([units], mask_id=4)
        >>> batch = next(group.batches(tokens=100))
        >>> batch.input_ids
        tensor([[2, 4, 4, 7, 3],
                [2, 5, 6, 4, 3],
                [2, 4, 4, 4, 3]])
        >>> batch.units.tolist(), batch.others.tolist()
        ([0, 0, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0])
    """

    def __init__(self, sentences: Sequence[Units], mask_id: int, reach: int | None = None) -> None:
        self.sizes = [len(units) for units in sentences]
        self.token_ids = torch.tensor([units.token_ids for units in sentences])  # (sentences, length)
        self.owners = torch.tensor([units.owners for units in sentences])  # (sentences, length)
        self.mask_id = mask_id
        masked = [masked_units(size, reach) for size in self.sizes]
        counts = torch.tensor([len(first) for first, _ in masked])
        self._sentences = torch.arange(len(sentences)).repeat_interleave(counts)  # (copies,)
        self._first = torch.from_numpy(np.concatenate([first for first, _ in masked]))
        self._second = torch.from_numpy(np.concatenate([second for _, second in masked]))

    @property
    def length(self) -> int:
        """Tokens of each sentence."""
        return self.token_ids.shape[1]

    def batches(self, tokens: int) -> Iterator[Batch]:
        """All copies, in batches of nearly equal size.

        Args:
            tokens: a batch has at most so many, unless a single copy has more.

        Yields:
            The batches, none if there are no copies.
        """
        most = max(1, tokens // self.length)
        copies = torch.arange(len(self._sentences))
        for chosen in copies.tensor_split(-(-len(copies) // most)) if len(copies) else ():
            yield self._batch(chosen)

    def _batch(self, chosen: Tensor) -> Batch:
        sentences, first, second = self._sentences[chosen], self._first[chosen], self._second[chosen]
        owners = self.owners[sentences]  # (copies, length)
        masked = (owners == first[:, None]) | (owners == second[:, None])
        copies, positions = masked.nonzero(as_tuple=True)
        units = owners[copies, positions]
        return Batch(
            input_ids=self.token_ids[sentences].masked_fill(masked, self.mask_id),
            copies=copies,
            positions=positions,
            sentences=sentences[copies],
            units=units,
            others=(first + second)[copies] - units,
        )
