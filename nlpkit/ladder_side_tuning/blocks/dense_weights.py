"""The weights of a module as plain matrices, also where its layers are quantised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def is_quantised(module: nn.Module) -> bool:
    """Whether a module is a linear layer whose weights are not kept as a matrix of floating-point numbers.

    Example:
        >>> is_quantised(nn.Linear(2, 3))
        False
    """
    sizes = getattr(module, "out_features", None), getattr(module, "in_features", None)
    if not all(isinstance(size, int) for size in sizes):
        return False
    weight: Any = getattr(module, "weight", None)
    return type(weight) is not nn.Parameter or not weight.is_floating_point() or tuple(weight.shape) != sizes


def dense_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of a module itself, those of its children left out.

    Args:
        module: any module. What a quantised layer of any kind multiplies with is read off what it makes of the unit
            vectors.

    Returns:
        Tensors by name; a quantised ``weight`` has the shape ``(out, in)``, in fp32.

    Example:
        >>> sorted(dense_parameters(nn.Linear(2, 3)))
        ['bias', 'weight']
    """
    found: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    if is_quantised(module):
        found["weight"] = _columns(module, range(int(module.in_features)))  # type: ignore[arg-type]
    return found


def comparable_parameters(module: nn.Module, columns: int = 64) -> dict[str, Tensor]:
    """The parameters of a module itself, to be compared with those of another time or machine.

    The bytes of a quantised layer are rearranged when it runs, and its products are rounded differently on different
    machines, so of its weights the signs are compared, in evenly spread columns.

    Args:
        module: any module.
        columns: of a quantised layer.

    Returns:
        Tensors by name; of a quantised ``weight`` the signs, shape ``(out, columns)``.
    """
    found: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    if is_quantised(module):
        size = int(module.in_features)  # type: ignore[arg-type]
        chosen = range(0, size, max(1, size // columns))
        found["weight"] = _columns(module, chosen).sign().to(torch.int8)
    return found


@torch.no_grad()
def _columns(module: nn.Module, numbers: Iterable[int]) -> Tensor:
    """Some columns of the matrix of a quantised layer, shape ``(out, columns)``."""
    device = next((tensor.device for tensor in module.parameters(recurse=False)), torch.device("cpu"))
    units = torch.eye(int(module.in_features), device=device)[list(numbers)]  # type: ignore[arg-type]
    units.requires_grad_(True)  # some layers rearrange their weights for inputs without
    bias = module._parameters.get("bias")
    try:
        if bias is not None:
            module._parameters["bias"] = None  # beside which small weights would be rounded away
        found: Tensor = module(units).T.float()
    finally:
        if bias is not None:
            module._parameters["bias"] = bias
    return found


def count_parameters(model: nn.Module) -> int:
    """How many numbers a model's parameters stand for, those of quantised layers included.

    Example:
        >>> count_parameters(nn.Linear(2, 3))
        9
    """
    found = 0
    for module in model.modules():
        sizes: Any = module
        for name, parameter in module.named_parameters(recurse=False):
            is_packed = name == "weight" and is_quantised(module)
            found += sizes.in_features * sizes.out_features if is_packed else parameter.numel()
    return found


def dense_copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A quantised layer as an ordinary one, to be trained.

    Args:
        module: a quantised layer.
        dtype: of the weights of the ordinary one.

    Returns:
        An ``nn.Linear`` with the same results up to rounding.
    """
    weights = dense_parameters(module)
    rows, columns = weights["weight"].shape
    linear = nn.Linear(columns, rows, bias="bias" in weights, device=weights["weight"].device)
    with torch.no_grad():
        for name, parameter in linear.named_parameters():
            parameter.copy_(weights[name])
    return linear.to(dtype)


def make_dense(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Replace all quantised layers of a module by ordinary ones.

    Args:
        module: changed in place, unless it is such a layer itself.
        dtype: of the weights of the ordinary ones.

    Returns:
        The module, or the layer in its place.
    """
    if is_quantised(module):
        return dense_copy(module, dtype)
    for name, child in module.named_children():
        setattr(module, name, make_dense(child, dtype))
    return module
