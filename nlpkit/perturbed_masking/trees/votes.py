"""One tree out of several of one sentence: the tree that agrees most with all of them.

Which layer of a model knows most of trees is seen with gold trees alone. Without any, every layer has a vote: where
many decode the same arc or constituent, it is seldom wrong.

Source: minimum Bayes risk, with the layers as the samples; for parsing Goodman (1996), "Parsing Algorithms and
Metrics": the tree with the most constituents expected to be right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlpkit.perturbed_masking.trees.constituents import best_bracketing
from nlpkit.perturbed_masking.trees.spanning_trees import best_projective_tree, best_spanning_tree
from nlpkit.perturbed_masking.trees.tree import Tree


def vote_on_heads(trees: Sequence[Sequence[int]], *, projective: bool = True) -> list[int]:
    """The dependency tree that shares most arcs with some others; the arc from the root counts as one.

    Args:
        trees: heads of one sentence, 1-based, 0 for a root; at least one.
        projective: no two arcs may cross.

    Returns:
        The heads, with one root.

    Raises:
        ValueError: there is no tree, or they are of different lengths.

    Note:
        O(n³) as ``eisner``. Among equal trees the first that the decoder meets, not the first of ``trees``.

    Example:
        >>> vote_on_heads([[2, 0, 2], [2, 0, 2], [0, 1, 2]])
        [2, 0, 2]
    """
    length = _common_length([len(heads) for heads in trees])
    if length == 0:
        return []
    counts = np.zeros((length, length + 1))
    for heads in trees:
        counts[np.arange(length), heads] += 1
    decode = best_projective_tree if projective else best_spanning_tree
    return (decode(counts[:, 1:], counts[:, 0]) + 1).tolist()


def vote_on_constituents(trees: Sequence[Tree]) -> Tree:
    """The binary tree that shares most constituents with some others.

    Args:
        trees: over the same units; at least one.

    Returns:
        A binary tree, without labels.

    Raises:
        ValueError: there is no tree, or they span different units.

    Note:
        O(n³) as ``cky``; among equal trees the one that cuts furthest to the left.

    Example:
        >>> from nlpkit.perturbed_masking.trees.constituents import left_branching, right_branching
        >>> vote_on_constituents([left_branching(4), left_branching(4), right_branching(4)]).outline("abcd")
        '(((a b) c) d)'
    """
    length = _common_length([tree.end for tree in trees])
    counts = np.zeros((length, length + 1))
    for tree in trees:
        for start, end in tree.spans():
            counts[start, end] += 1
    return best_bracketing(counts)


def _common_length(lengths: Sequence[int]) -> int:
    if not lengths:
        raise ValueError("trees is empty; give at least one tree to vote")
    if len(set(lengths)) > 1:
        raise ValueError(f"trees are of {min(lengths)} to {max(lengths)} units; give trees of one sentence")
    return lengths[0]
