"""Dropout of a model: setting it, and drawing the same of it again."""

from __future__ import annotations

import torch
from torch import nn


def set_dropout(model: nn.Module, probability: float) -> int:
    """Give every dropout of a model a probability, those of its attention included.

    Args:
        model: changed in place; its configuration is not.
        probability: from 0 to below 1.

    Returns:
        How many modules have taken it.

    Raises:
        ValueError: no probability, or the model has no dropout to set.

    Example:
        >>> set_dropout(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), 0.3)
        1
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout is a probability from 0 to below 1, not {probability}")
    found = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
        elif isinstance(getattr(module, "attention_dropout", None), float):  # decoders that have no module for it
            setattr(module, "attention_dropout", probability)  # noqa: B010 - not a declared attribute of nn.Module
        else:
            continue
        found += 1
    if not found:
        raise ValueError(f"{type(model).__name__} has no module with dropout that could be set to {probability}")
    return found


class SameDropout:
    """Lets further passes draw the dropout of the one that follows its making.

    Example:
        >>> drawn = SameDropout(torch.device("cpu"))
        >>> first = torch.rand(2)
        >>> drawn.again()
        >>> bool((torch.rand(2) == first).all())
        True
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._state = torch.get_rng_state()
        self._device_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def again(self) -> None:
        """Draw from the same start."""
        torch.set_rng_state(self._state)
        if self._device_state is not None:
            torch.cuda.set_rng_state(self._device_state, self._device)
