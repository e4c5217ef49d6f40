"""What Amos derives, for AdamW: rates by the scale of each tensor, and weight decay of the order of their square."""

from __future__ import annotations

from typing import Any

from torch import nn

from nlpkit.checked_number import checked_number
from nlpkit.optimizers.blocks import owners

#: How far biases and the gains of norms go, from where they begin.
_SCALE_OF_VECTORS = 0.5


def relative_rate_groups(
    model: nn.Module, lr: float, *, decay: bool = True, alignment: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for AdamW whose rates are relative to the scale of each tensor.

    Source: kexue.fm/archives/9344: a tensor of k entries moves by ``lr * sqrt(k) * sigma`` a step, with sigma the
    standard deviation of a matrix at the beginning, and 0.5 for biases and the gains of norms. AdamW's updates have
    entries of about 1, so the rate of the tensor is ``lr * sigma``.

    Args:
        model: with the weights that training begins from.
        lr: the relative rate, 1e-3 in the post, 1e-2 for easy tasks.
        decay: whether weights decay, by ``coupled_weight_decay``.
        alignment: as ``coupled_weight_decay`` takes it.

    Returns:
        One group a tensor, with its ``"name"``, ``"lr"`` and ``"weight_decay"``, for ``torch.optim.AdamW``.

    Raises:
        ValueError: ``lr`` or ``alignment`` is not positive; or a matrix is constant, so that its scale is not to be
            seen, as LoRA's B at the beginning.

    Note:
        Weights in which sigma is not the scale that they are to reach, as those of a head of zeros, need a rate of
        their own. Putting the norm of the weights of each step in place of the one at the beginning gives LAMB.

    Example:
        >>> import torch
        >>> model = nn.Linear(400, 2)
        >>> _ = nn.init.normal_(model.weight, std=0.02)
        >>> [(group["name"], round(group["lr"], 5)) for group in relative_rate_groups(model, 1e-3)]
        [('weight', 2e-05), ('bias', 0.0005)]
    """
    checked_number("lr", lr, above=0)
    checked_number("alignment", alignment, above=0)
    groups = []
    for name, parameter, _ in owners(model):
        vector = parameter.dim() < 2
        scale = _SCALE_OF_VECTORS if vector else float(parameter.detach().float().std(correction=0))
        if scale == 0:
            raise ValueError(f"{name} is constant, so its scale is not known: train it in a group of its own")
        coupled = coupled_weight_decay(lr, scale, alignment=alignment) if decay else 0.0
        groups.append({"params": [parameter], "name": name, "lr": lr * scale, "weight_decay": coupled})
    return groups


def coupled_weight_decay(lr: float, scale: float = 1.0, *, alignment: float = 1.0) -> float:
    """The ``weight_decay`` with which what AdamW takes off the weights is of the order of the squared learning rate.

    Source: kexue.fm/archives/9344: ``rho_t = lr^2 / (2 q) * decay(t)``. Torch multiplies ``weight_decay`` by the
    group's rate, ``lr * scale * decay(t)``, so that the schedule is in it already.

    Args:
        lr: the relative rate, such as 1e-3.
        scale: of the tensor, by which the rate of its group is multiplied.
        alignment: the post's q, the cosine of a weight and of the way that it still has to go; 1 there.

    Returns:
        For ``torch.optim.AdamW``.

    Raises:
        ValueError: an argument is not positive.

    Example:
        >>> coupled_weight_decay(1e-3, scale=0.02)
        0.025
    """
    for name, number in (("lr", lr), ("scale", scale), ("alignment", alignment)):
        checked_number(name, number, above=0)
    return lr / (2 * alignment * scale)
