"""Numbers of classes or labels beside the right answers, looked at before anything is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpkit.losses.labels import checked_cells, checked_indices, signed

Numbers = Tensor | np.ndarray | Sequence[Any]


def as_tensor(name: str, numbers: Numbers) -> Tensor:
    """Numbers on the CPU, in full precision where they come from a list.

    Args:
        name: what errors call them.
        numbers: of any shape.

    Raises:
        TypeError: they are texts, or rows of different lengths.

    Example:
        >>> as_tensor("answers", ["good", "bad"])
        Traceback (most recent call last):
        TypeError: answers are no numbers: array(['good', 'bad'], dtype='<U4'); ClassSet and LabelSet give names theirs
    """
    if isinstance(numbers, Tensor):
        return numbers.detach().cpu()
    if isinstance(numbers, Mapping):
        raise TypeError(f"{name} is a {type(numbers).__name__}; give a list, in the order of the classes")
    try:
        found = np.asarray(numbers)
    except ValueError as error:  # rows of different lengths
        raise TypeError(f"{name} are no numbers in rows of one length: {error}") from error
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} are no numbers: {found[:3]!r}; ClassSet and LabelSet give names theirs")
    return torch.as_tensor(found)


def known_answers(name: str, numbers: Numbers, answers: Numbers) -> tuple[Tensor, Tensor]:
    """Numbers and answers that fit each other, on the CPU.

    Args:
        name: what errors call the numbers.
        numbers: shape ``(rows, classes)``.
        answers: a class for each row, or a 0 or 1 for each number; -100 where it is not known.

    Returns:
        Numbers in fp64 and the classes of the rows that are known; or all numbers, and 1.0, 0.0 or -100.0 for each.

    Raises:
        TypeError: they are no numbers.
        ValueError: they do not fit, or no answer is known.

    Example:
        >>> known_answers("logits", [[0.5, 1.0], [2.0, 3.0]], [1, -100])
        (tensor([[0.5000, 1.0000]], dtype=torch.float64), tensor([1]))
    """
    given = as_tensor(name, numbers).double()
    right = signed(as_tensor("answers", answers))
    if given.dim() != 2 or right.shape not in (given.shape, given.shape[:1]):
        raise ValueError(
            f"{name} of shape {tuple(given.shape)} and answers of shape {tuple(right.shape)}: give (rows, classes) "
            "and a class for each row, or a 0 or 1 for each number"
        )
    known = right != -100
    if not known.any():
        raise ValueError("no answer is known: all are -100, or there are no rows")
    if right.dim() == 2:
        checked_cells(right[known])
        return given, right.double()
    return given[known], checked_indices(right[known], given.shape[1])
