"""Which examples each training step sees: a function of its number and the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nlpkit.pet.clozes.examples import Example


@dataclass(frozen=True)
class TrainingRow:
    """What one place in a batch holds.

    Args:
        example: with a label.
        draw: the number of the row within the run; random choices about it are functions of this number.
        unlabelled: texts that join it without a label.
    """

    example: Example
    draw: int
    unlabelled: tuple[Example, ...] = ()


class TrainingRows(Dataset[TrainingRow]):
    """All rows of a run in order: labelled examples, shuffled anew at each pass, with unlabelled ones at their side.

    Args:
        labelled: the training examples.
        draws: rows of the whole run (steps x rows per step).
        unlabelled: texts without labels.
        unlabelled_per_row: how many of them join each labelled example.
        seed: of the shuffling.

    Raises:
        ValueError: no labelled examples, or unlabelled ones are asked for and there are none.

    Note:
        Row ``i`` is the same whatever the batch size, the accumulation, the number of processes, and after a
        resumption.

    Example:
        >>> rows = TrainingRows([Example({"text": "a"}, "x"), Example({"text": "b"}, "y")], draws=5)
        >>> sorted(rows[number].example.label for number in (0, 1)), len(rows)
        (['x', 'y'], 5)
    """

    def __init__(
        self,
        labelled: Sequence[Example],
        draws: int,
        unlabelled: Sequence[Example] = (),
        unlabelled_per_row: int = 0,
        seed: int = 0,
    ) -> None:
        if not labelled:
            raise ValueError("no training examples; give at least one with a label")
        if unlabelled_per_row and not unlabelled:
            raise ValueError(
                f"unlabelled_per_row={unlabelled_per_row}, but there are no unlabelled texts; give some, or 0"
            )
        self.labelled, self.unlabelled = labelled, unlabelled
        self.draws, self.unlabelled_per_row, self.seed = draws, unlabelled_per_row, seed

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, number: int) -> TrainingRow:
        if not 0 <= number < self.draws:
            raise IndexError(f"row {number} of {self.draws}")
        companions = range(number * self.unlabelled_per_row, (number + 1) * self.unlabelled_per_row)
        return TrainingRow(
            self._pick(self.labelled, number, 0),
            number,
            tuple(self._pick(self.unlabelled, companion, 1) for companion in companions),
        )

    def _pick(self, examples: Sequence[Example], number: int, stream: int) -> Example:
        turn, place = divmod(number, len(examples))
        return examples[int(_order(self.seed, stream, turn, len(examples))[place])]


def unlabelled_of(rows: Sequence[TrainingRow]) -> tuple[list[Example], list[int]]:
    """The unlabelled examples of some rows, and for each a number of its own that no labelled row has."""
    examples = [example for row in rows for example in row.unlabelled]
    numbers = [-1 - row.draw * len(row.unlabelled) - place for row in rows for place in range(len(row.unlabelled))]
    return examples, numbers


_orders: dict[tuple[int, int, int, int], NDArray[np.int64]] = {}


def _order(seed: int, stream: int, turn: int, size: int) -> NDArray[np.int64]:
    """The order of one pass; the latest few are kept, since rows come one by one."""
    key = (seed, stream, turn, size)
    if key not in _orders:
        if len(_orders) > 8:
            _orders.clear()
        _orders[key] = np.random.default_rng((seed, stream, turn)).permutation(size)
    return _orders[key]
