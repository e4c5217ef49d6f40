"""Dependency trees of words alone, with every punctuation mark attached to the root.

A mark between two words is their neighbour: it takes the place of heads that the chains know, and a model's impact on
it says little. Where marks belong is a convention of the treebank, mostly high in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from unicodedata import category

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.perturbed_masking.trees.dependencies import right_chain
from nlpkit.perturbed_masking.trees.impact_matrix import as_impact
from nlpkit.perturbed_masking.trees.votes import vote_on_heads

Places = NDArray[np.intp]

#: Characters of Unicode's class of punctuation that stand for words.
_READ_ALOUD = "%‰&@#*"
#: Characters outside of that class that treebanks quote with.
_QUOTES = "`´"
_PENN_BRACKET = re.compile("-[LR][RCS]B-")


def is_mark(form: str) -> bool:
    """Whether a word consists of punctuation alone, as it stands in a text or in the Penn Treebank.

    Example:
        >>> is_mark("……"), is_mark("``"), is_mark("-LRB-"), is_mark("3.5"), is_mark("%")
        (True, True, True, False, False)
    """
    return all(
        (category(character).startswith("P") or character in _QUOTES) and character not in _READ_ALOUD
        for character in _PENN_BRACKET.sub("(", form)
    )


def marks_on_root(
    marks: Sequence[bool], decode: Callable[[Places, int | None], list[int]], *, root: int | None = None
) -> list[int]:
    """The tree of the words, with each mark attached to its root.

    Args:
        marks: which units are punctuation, one per unit. A root that is given counts as a word, and so do all units
            of a sentence of nothing but marks.
        decode: from the places of the words, from 0, and the root among them, 1-based or ``None``, to their heads.
        root: the root, 1-based, where it is known.

    Returns:
        The heads of all units, 1-based, 0 for the root.

    Example:
        >>> marks_on_root([False, True, False, True], lambda places, root: right_chain(len(places)))
        [3, 3, 0, 3]
    """
    is_mark = np.array(marks, dtype=bool)
    if root is not None:
        is_mark[root - 1] = False
    if is_mark.all():
        is_mark[:] = False
    places = np.flatnonzero(~is_mark)
    inner = None if root is None else int(np.searchsorted(places, root - 1)) + 1
    heads = decode(places, inner)
    roots = places[[head == 0 for head in heads]]
    whole = np.full(len(is_mark), roots[0] + 1 if len(roots) else 0)
    whole[places] = [places[head - 1] + 1 if head else 0 for head in heads]
    return whole.tolist()


def decode_words(
    matrices: Sequence[ArrayLike],
    marks: Sequence[bool],
    decode: Callable[..., list[int]],
    *,
    root: int | None = None,
    **options: object,
) -> list[int]:
    """Decode the impact of words on each other, let several trees vote, and attach the marks to the root.

    Args:
        matrices: impact of all units by one or more measures, each ``(n, n)``.
        marks: which of the units are punctuation, one per unit.
        decode: from an impact matrix to heads, such as ``eisner``.
        root: the root, 1-based, where it is known.
        **options: for ``decode``.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: a matrix is not square, or there are more or fewer marks than units; and as ``decode``.

    Example:
        >>> from nlpkit.perturbed_masking.trees.dependencies import eisner
        >>> decode_words([[[0, 9, 1], [1, 0, 1], [1, 9, 0]]], [False, True, False], eisner)
        [0, 1, 1]
    """
    several = [as_impact(matrix) for matrix in matrices]
    for scores in several:
        if len(marks) != len(scores):
            raise ValueError(f"marks has {len(marks)} items for {len(scores)} units; give one per unit")

    def decode_places(places: Places, inner: int | None) -> list[int]:
        known = {} if inner is None else {"root": inner}
        trees = [decode(scores[np.ix_(places, places)], **known, **options) for scores in several]
        return trees[0] if len(trees) == 1 else vote_on_heads(trees)

    return marks_on_root(marks, decode_places, root=root)


def chain_of_words(marks: Sequence[bool], *, root: int | None = None) -> list[int]:
    """``right_chain`` over the words, every mark on its root: the baseline that dependency parsers must beat.

    Args:
        marks: which units are punctuation.
        root: the root, 1-based; the last word by default.

    Returns:
        The heads, 1-based, 0 for the root.

    Example:
        >>> chain_of_words([False, True, False, False, True])
        [3, 4, 4, 0, 4]
    """
    return marks_on_root(marks, lambda places, inner: right_chain(len(places), root=inner), root=root)
