"""How well a linear classifier reads positions off states."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import refuse_other_than_finite

#: What to do about states that are no numbers.
BROKEN = "the model's weights are broken, as after training in fp16, or its inputs are"


def linear_probe(train: Tensor, test: Tensor, ridge: float = 1.0) -> float:
    """The share of positions that a linear classifier names right, in texts that it has not seen.

    The classifier is ridge regression on standardised states, with a number per position to be 1 at its own and 0
    elsewhere, which has a closed form: nothing is drawn, and nothing has to be tuned.

    Args:
        train: states of texts to learn from, shape ``(texts, positions, dim)``.
        test: states of other texts, with as many positions.
        ridge: penalty per state; states of a trained model vary with tokens in nearly all dimensions, and 1 keeps what
            it learns of some tokens to what holds for others.

    Returns:
        Accuracy; one over the number of positions is chance.

    Raises:
        TypeError: ``ridge`` is no number.
        ValueError: shapes differ, there is only one position, or a state is NaN or infinite.

    Note:
        ``O(texts * positions * dim^2)``. With fewer states than dimensions and little penalty it learns them by heart.

    Example:
        >>> places = torch.eye(4, dtype=torch.float64).expand(6, 4, 4)
        >>> linear_probe(places, places), linear_probe(torch.ones(6, 4, 2), torch.ones(6, 4, 2))
        (1.0, 0.25)
    """
    if train.dim() != 3 or train.shape[1:] != test.shape[1:] or train.shape[1] < 2:
        raise ValueError(
            f"states of shapes {tuple(train.shape)} and {tuple(test.shape)}: give (texts, positions, dim), with "
            "as many positions, at least two, and dimensions in both"
        )
    checked_number("ridge", ridge, least=0)
    for name, states in (("train", train), ("test", test)):
        refuse_other_than_finite(states, name, BROKEN)
    positions = train.shape[1]
    rows = train.flatten(0, 1).double()
    centre, spread = rows.mean(dim=0), rows.std(dim=0)
    scale = torch.where(spread > 0, spread, 1.0)
    rows = (rows - centre) / scale
    wanted = torch.eye(positions, dtype=rows.dtype, device=rows.device).repeat(len(train), 1)
    square = rows.T @ rows
    square.diagonal().add_(ridge * len(rows))
    weights = torch.linalg.solve(square, rows.T @ (wanted - 1 / positions))
    scores = (test.flatten(0, 1).double() - centre) / scale @ weights
    places = torch.arange(positions, device=rows.device).repeat(len(test))
    return (scores.argmax(dim=1) == places).double().mean().item()
