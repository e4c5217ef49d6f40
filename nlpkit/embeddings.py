"""Embeddings of whatever users hold them in, and their directions whatever their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Embeddings = Tensor | np.ndarray | Sequence[Sequence[float]] | Sequence[Tensor] | Sequence[np.ndarray]


def as_points(embeddings: Embeddings, name: str, dimension: int | None = None) -> Tensor:
    """Embeddings as a tensor that can be computed with.

    Args:
        embeddings: shape ``(points, dimension)``: a tensor, an array, a data frame of numbers, or a list of rows. Of
            half precision they become fp32; whole numbers, and what is wider than fp64, become fp64.
        name: of the argument, for errors.
        dimension: what they must have.

    Returns:
        A tensor of fp32 or fp64 without gradient, where possible on the same memory.

    Raises:
        TypeError: they hold something else than real numbers, such as complex ones, truth values or texts.
        ValueError: no points, another shape or dimension, or a number that is NaN or infinite; the message says which.

    Example:
        >>> as_points(np.array([[1.0, 2.0]]), "index").shape
        torch.Size([1, 2])
        >>> as_points(torch.tensor([[1.0], [torch.nan]]), "index")
        Traceback (most recent call last):
        ValueError: index: row 1 holds NaN or infinity; encode that text again, or leave it out
    """
    points = _as_tensor(embeddings, name)
    if points.dim() != 2 or points.shape[1] == 0:
        raise ValueError(f"{name} of shape {tuple(points.shape)}: embeddings are (points, dimension)")
    if len(points) == 0:
        raise ValueError(f"{name} holds no points")
    if dimension is not None and points.shape[1] != dimension:
        raise ValueError(
            f"{name} has {points.shape[1]} dimensions and the others have {dimension}: encode both by one model"
        )
    refuse_other_than_finite(points, name)
    return points


def refuse_other_than_finite(rows: Tensor, name: str, hint: str = "encode that text again, or leave it out") -> None:
    """See that all numbers are finite.

    Args:
        rows: shape ``(rows, ...)``.
        name: of what they are, for the error.
        hint: what to do about it.

    Raises:
        ValueError: one is NaN or infinite; the message says in which row.
    """
    finite = rows.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise ValueError(f"{name}: row {int((~finite).nonzero()[0])} holds NaN or infinity; {hint}")


def unit_rows(vectors: Tensor) -> Tensor:
    """Vectors of length 1 in the same directions, however short or long they are.

    ``torch.nn.functional.normalize`` divides by 1e-12 at least, and by a root of squares, which of numbers below 1e-19
    are 0 in fp32 and of those above 1e19 infinite. Here rows are brought to a size of about 1 beforehand, by powers of
    two, so that all others have what it gives, to the last digit.

    Args:
        vectors: shape ``(..., dimension)``.

    Returns:
        The same shape; a vector of zeros stays one.

    Example:
        >>> unit_rows(torch.tensor([[3e-25, 4e-25], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    if not vectors.numel():
        return vectors
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    wide = largest if largest.dtype == torch.float64 else largest.float()
    power = torch.where(wide > 0, wide / (2 * torch.frexp(wide).mantissa), 1.0)
    scaled = vectors / power.clamp(min=torch.finfo(vectors.dtype).tiny).to(vectors.dtype)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / torch.where(length > 0, length, 1.0)


def _as_tensor(embeddings: Any, name: str) -> Tensor:
    """Embeddings as a tensor of fp32 or fp64, of any shape."""
    if isinstance(embeddings, (list, tuple)) and embeddings and all(isinstance(row, Tensor) for row in embeddings):
        if len({row.shape for row in embeddings}) > 1:
            raise ValueError(f"{name} has rows of different lengths: encode all texts by one model")
        embeddings = torch.stack(tuple(embeddings))
    if isinstance(embeddings, Tensor):
        if embeddings.is_complex() or embeddings.dtype == torch.bool or embeddings.layout != torch.strided:
            raise TypeError(
                _no_numbers(name, embeddings.dtype if embeddings.layout == torch.strided else embeddings.layout)
            )
        if embeddings.dtype in (torch.float32, torch.float64):
            return embeddings.detach()
        return embeddings.detach().to(torch.float32 if embeddings.is_floating_point() else torch.float64)
    try:
        array = np.asarray(embeddings)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths: encode all texts by one model") from None
    if array.dtype == object and all(_is_number(one) for one in array.flat):
        array = array.astype(np.float64)  # a data frame of numbers of several kinds
    if array.dtype.kind not in "fiu":
        raise TypeError(_no_numbers(name, array.dtype))
    is_narrow = array.dtype.kind == "f" and array.dtype.itemsize < 8
    plain = array.astype(np.float32 if is_narrow else np.float64, copy=False)
    # torch takes no negative strides and no foreign byte order, and warns of what is read-only
    return torch.from_numpy(np.require(plain, requirements=["C", "W"]))


def _is_number(one: object) -> bool:
    return isinstance(one, (int, float, np.integer, np.floating)) and not isinstance(one, bool)


def _no_numbers(name: str, kind: object) -> str:
    return f"{name} holds {kind}: give real numbers, (points, dimension), as a tensor, an array or a list of rows"
