"""The mode, training or evaluation, of each part of a model, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def mode_kept(*models: nn.Module) -> Iterator[None]:
    """Whatever mode the parts of models are put in within the block, each is afterwards in the one it was in.

    ``model.train(was_training)`` would set all parts alike, and wake dropout that someone turned off.

    Args:
        *models: any; a part of two of them is given back once.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with mode_kept(model):
        ...     _ = model.train()
        >>> model[0].training, model[1].training
        (True, False)
    """
    modes = {part: part.training for model in models for part in model.modules()}
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Within the block every part of models is in evaluation mode; afterwards each is in the mode it was in.

    Args:
        *models: any.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.Linear(1, 1).eval())
        >>> with evaluating(model):
        ...     model[0].training
        False
        >>> model[0].training, model[1].training
        (True, False)
    """
    with mode_kept(*models):
        for model in models:
            model.eval()
        yield
