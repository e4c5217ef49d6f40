"""Decoders by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.trees.tree import Tree

Decoder = Callable[..., Any]
Kind = Literal["dependencies", "constituents"]


def named_decoders(kind: Kind) -> dict[str, Decoder]:
    """The decoders of an impact matrix, by name."""
    # Imported late: half of what asks for words never asks for trees.
    from nlpkit.perturbed_masking.trees.constituents import cky, mart, top_down
    from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner

    if kind == "dependencies":
        return {"eisner": eisner, "edmonds": edmonds}
    return {"mart": mart, "top_down": top_down, "cky": cky, "leaning_cky": leaning_cky}


def leaning_cky(impact: ArrayLike, *, right_bonus: float = 2.0) -> Tree:
    """CKY on impact with products corrected, leaning to the right: the best for English that was measured here.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, not negative, shape ``(n, n)``, ``n`` at least 1.
        right_bonus: how much to favour branching to the right; 1 is the mean impact of a pair. 2 was best on the
            development part of the Penn Treebank's sample.

    Returns:
        A binary tree over the units.

    Raises:
        ValueError: the matrix is empty, not square or not finite.

    Note:
        O(n³), as ``cky``.

    Example:
        >>> leaning_cky([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]]).brackets("abcd")
        '(a ((b c) d))'
        >>> leaning_cky([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]], right_bonus=9.0).brackets("abcd")
        '(a (b (c d)))'
    """
    from nlpkit.perturbed_masking.trees.constituents import cky
    from nlpkit.perturbed_masking.trees.corrections import average_product_correction, relative_to_mean
    from nlpkit.perturbed_masking.trees.impact_matrix import as_impact

    corrected = average_product_correction(relative_to_mean(as_impact(impact)))
    return cky(corrected, right_bonus=right_bonus)


def leaning_eisner(impact: ArrayLike, *, before: float, after: float, root: int | None = None) -> list[int]:
    """The best projective tree where neighbours have a bonus as heads (``lean_on_neighbours``).

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, not negative, shape ``(n, n)``.
        before: bonus for the unit before a dependent as its head; 1 is the mean impact of a pair.
        after: the same for the unit after it.
        root: the root, 1-based, where it is known.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: as ``eisner``.

    Example:
        >>> leaning_eisner([[0, 1, 1], [1, 0, 1], [1, 1, 0]], before=9.0, after=0.0, root=1)
        [0, 1, 2]
    """
    from nlpkit.perturbed_masking.trees.corrections import lean_on_neighbours
    from nlpkit.perturbed_masking.trees.dependencies import eisner

    return eisner(lean_on_neighbours(impact, before=before, after=after), root=root)


def choose_decoder(kind: Kind, decoder: str | Decoder) -> Decoder:
    """The decoder of that name, or the given one.

    Args:
        kind: what it makes of an impact matrix.
        decoder: a name (see ``named_decoders``), or a function of a matrix.

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
