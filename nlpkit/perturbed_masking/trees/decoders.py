"""Decoders by name, and trees of several matrices of one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from nlpkit.perturbed_masking.trees.tree import Tree

Decoder = Callable[..., Any]
Kind = Literal["dependencies", "constituents"]
Marks = Literal["root", "words"]
Matrices = Sequence[ArrayLike] | NDArray[np.floating]


def named_decoders(kind: Kind) -> dict[str, Decoder]:
    """The decoders of an impact matrix, by name; the first is the default."""
    # Imported late: half of what asks for words never asks for trees.
    from nlpkit.perturbed_masking.trees.constituents import cky, mart, top_down
    from nlpkit.perturbed_masking.trees.dependencies import edmonds, eisner

    if kind == "dependencies":
        return {"leaning_eisner": leaning_eisner, "eisner": eisner, "edmonds": edmonds}
    return {"leaning_cky": leaning_cky, "cky": cky, "mart": mart, "top_down": top_down}


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
        >>> leaning_cky([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]]).outline("abcd")
        '(a ((b c) d))'
        >>> leaning_cky([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]], right_bonus=9.0).outline("abcd")
        '(a (b (c d)))'
    """
    from nlpkit.perturbed_masking.trees.constituents import cky
    from nlpkit.perturbed_masking.trees.corrections import average_product_correction, relative_to_mean
    from nlpkit.perturbed_masking.trees.impact_matrix import as_impact

    corrected = average_product_correction(relative_to_mean(as_impact(impact)))
    return cky(corrected, right_bonus=right_bonus)


def leaning_eisner(
    impact: ArrayLike, *, before: float = 0.0, after: float = 1.0, root: int | None = None
) -> list[int]:
    """The best projective tree where neighbours have a bonus as heads: the safest that was measured here.

    The impact of two words on each other says how near they are (``symmetric``); which of them is the head, the bonus
    says.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, not negative, shape ``(n, n)``.
        before: bonus for the unit before a dependent as its head; 1 is the mean impact of a pair.
        after: the same for the unit after it. On the development parts of English EWT and Chinese GSDSimp 0.5 was
            better in all, and worse on long English sentences.
        root: the root, 1-based, where it is known.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: as ``eisner``.

    Note:
        O(n³), as ``eisner``.

    Example:
        >>> leaning_eisner([[0, 1, 1], [5, 0, 1], [1, 1, 0]])
        [2, 3, 0]
        >>> leaning_eisner([[0, 1, 1], [1, 0, 1], [1, 1, 0]], before=9.0, after=0.0, root=1)
        [0, 1, 2]
    """
    from nlpkit.perturbed_masking.trees.corrections import lean_on_neighbours, symmetric
    from nlpkit.perturbed_masking.trees.dependencies import eisner
    from nlpkit.perturbed_masking.trees.impact_matrix import as_impact

    return eisner(lean_on_neighbours(symmetric(as_impact(impact)), before=before, after=after), root=root)


def choose_decoder(kind: Kind, decoder: str | Decoder) -> Decoder:
    """The decoder of that name, or the given one, whose answers are looked at.

    Args:
        kind: what it makes of an impact matrix.
        decoder: a name (see ``named_decoders``), or a function of a matrix.

    Raises:
        ValueError: the name is unknown; and, when a function is asked, what it answers is no tree of the units.

    Example:
        >>> import numpy as np
        >>> choose_decoder("dependencies", "eisner")(np.zeros((1, 1)))
        [0]
        >>> choose_decoder("dependencies", lambda impact: [2, 1, 0])(np.zeros((3, 3)))
        Traceback (most recent call last):
        ValueError: the decoder <lambda> answered [2, 1, 0], in which no head leads from the units [1, 2] to a root
    """
    if callable(decoder):
        check = _checked_heads if kind == "dependencies" else _checked_tree
        return lambda matrix, **options: check(decoder(matrix, **options), len(matrix), decoder)
    known = named_decoders(kind)
    if decoder not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"decoder={decoder!r} is unknown; use {names}, or a function of a matrix")
    return known[decoder]


def heads_by_vote(
    matrices: Matrices, decode: Decoder, words: Sequence[str], *, marks: Marks = "root", **options: object
) -> list[int]:
    """Decode each matrix of a sentence, and let the trees vote.

    Args:
        matrices: impact by one or more measures, each ``(n, n)``.
        decode: from a matrix to heads.
        words: the units' texts, ``n`` of them.
        marks: ``"root"`` attaches punctuation to the root of the tree of the words, ``"words"`` treats it as words.
            The vote is on the words.
        **options: for ``decode``.

    Returns:
        The heads, 1-based, 0 for the root; those of the only matrix as they are.

    Raises:
        ValueError: ``marks`` is unknown; and as ``decode``.

    Example:
        >>> from nlpkit.perturbed_masking.trees.dependencies import eisner
        >>> heads_by_vote([[[0, 9, 1], [1, 0, 1], [1, 9, 0]]], eisner, ["a", ",", "b"])
        [0, 1, 1]
    """
    from nlpkit.perturbed_masking.trees.marks import decode_words, is_mark

    if marks not in ("root", "words"):
        raise ValueError(f"marks={marks!r} is unknown; use 'root' or 'words'")
    is_apart = [marks == "root" and is_mark(word) for word in words]
    return decode_words(matrices, is_apart, decode, **options)  # type: ignore[arg-type]


def constituents_by_vote(matrices: Matrices, decode: Decoder, **options: object) -> Tree:
    """Decode each matrix of a sentence, and let the trees vote.

    Args:
        matrices: impact by one or more measures, each ``(n, n)``.
        decode: from a matrix to a tree.
        **options: for ``decode``.

    Returns:
        A binary tree; that of the only matrix as it is.

    Example:
        >>> constituents_by_vote([[[0, 5, 1], [5, 0, 1], [1, 1, 0]]], leaning_cky, right_bonus=0.0).outline("abc")
        '((a b) c)'
    """
    from nlpkit.perturbed_masking.trees.votes import vote_on_constituents

    trees: list[Tree] = [decode(matrix, **options) for matrix in matrices]
    return trees[0] if len(trees) == 1 else vote_on_constituents(trees)


def _checked_heads(answer: Any, length: int, decode: Decoder) -> list[int]:
    """Heads that a function found, as numbers of Python, refused where they are no tree."""
    from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle

    try:
        heads = np.asarray(answer)
    except ValueError:  # rows of several lengths
        heads = np.empty(0)
    whole = heads.shape == (length,) and (length == 0 or heads.dtype.kind in "iu")
    if not whole or (length and not 0 <= heads.min() <= heads.max() <= length):
        raise ValueError(
            f"{_name(decode)} answered {answer!r} for {length} units; a decoder gives the head of each unit, a whole "
            f"number from 1 to {length}, and 0 for the root"
        )
    found: list[int] = heads.tolist()
    if cycle := find_cycle(found):
        raise ValueError(f"{_name(decode)} answered {found}, in which no head leads from the units {cycle} to a root")
    return found


def _checked_tree(answer: Any, length: int, decode: Decoder) -> Tree:
    from nlpkit.perturbed_masking.trees.tree import Tree

    if not isinstance(answer, Tree) or (answer.start, answer.end) != (0, length):
        raise ValueError(
            f"{_name(decode)} answered {answer!r} for {length} units; a decoder gives a Tree from 0 to {length}"
        )
    return answer


def _name(decode: Decoder) -> str:
    return f"the decoder {getattr(decode, '__name__', type(decode).__name__)}"
