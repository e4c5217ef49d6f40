"""Decoders by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Decoder = Callable[..., Any]
Kind = Literal["dependencies", "constituents"]


def named_decoders(kind: Kind) -> dict[str, Decoder]:
    """What makes dependencies, or constituents, of an impact matrix."""
    # Imported late: half of what asks for words never asks for trees.
    from nlpkit.perturbed_masking.constituency_decoders import cky, mart, top_down
    from nlpkit.perturbed_masking.dependency_decoders import edmonds, eisner

    if kind == "dependencies":
        return {"eisner": eisner, "edmonds": edmonds}
    return {"mart": mart, "top_down": top_down, "cky": cky}


def choose_decoder(kind: Kind, decoder: str | Decoder) -> Decoder:
    """The decoder of that name, or the given one.

    Args:
        kind: what it makes of an impact matrix.
        decoder: a name (see :func:`named_decoders`), or a function of a matrix.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> import numpy as np
        >>> choose_decoder("dependencies", "eisner")(np.zeros((1, 1)))
        [0]
    """
    if callable(decoder):
        return decoder
    known = named_decoders(kind)
    if decoder not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"decoder={decoder!r} is unknown; use {names}, or a function of a matrix")
    return known[decoder]
