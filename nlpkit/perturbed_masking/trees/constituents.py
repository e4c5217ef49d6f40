"""From impact matrices to binary constituency trees: MART, top-down, CKY, and the branchings to beat.

Units of one constituent should have impact on each other, and units on either side of its border should not. All
decoders measure that by means of ``impact`` over ordered pairs of *different* units: the mean inside a range, and the
mean across a border. A single unit has no pairs inside, and scores 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.perturbed_masking.trees.impact_matrix import as_impact
from nlpkit.perturbed_masking.trees.published import wu_mart
from nlpkit.perturbed_masking.trees.tree import Tree

Table = NDArray[np.float64]
Place = int | NDArray[np.intp]


def mart(impact: ArrayLike, *, faithful: bool = False) -> Tree:
    """The matrix-based top-down parser: cut at a pivot, which takes all that is on its right.

    Each range is cut before the unit ``k`` at which ``split_gains`` is greatest, into ``(left, (k, rest))``. The
    pivot's own constituent is given, not found: **the form branches to the right whatever the matrix says**, which
    is why it does well on English and why its score must stand beside ``right_branching``'s. ``top_down`` is the same
    without it.

    Source: Wu et al. (2020), arXiv 2004.14786, section 4.2; the means as in kexue.fm/archives/7476.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``, ``n`` at least 1.
        faithful: decode as the authors' code does (``wu_mart`` names its quirks; ``su_mart`` beside it is Su's
            variant).

    Returns:
        A binary tree over the units.

    Raises:
        ValueError: the matrix is empty, not square or not finite.

    Note:
        O(n²) for the sums, then O(n) per cut.

    Example:
        >>> mart([[0.0, 5.0, 1.0], [5.0, 0.0, 1.0], [1.0, 1.0, 0.0]]).outline("abc")
        '((a b) c)'
    """
    scores = as_impact(impact)
    if faithful:
        return wu_mart(scores)
    return _cut_from_the_top(scores, pivot=True)


def top_down(impact: ArrayLike) -> Tree:
    """Cut each range in two where ``split_gains`` is greatest: MART without its bias to the right.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``, ``n`` at least 1.

    Returns:
        A binary tree over the units. Reversing the sentence reverses the tree, where no two cuts are equal.

    Raises:
        ValueError: the matrix is empty, not square or not finite.

    Example:
        >>> top_down([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]]).outline("abcd")
        '(a ((b c) d))'
    """
    return _cut_from_the_top(as_impact(impact), pivot=False)


def cky(impact: ArrayLike, *, right_bonus: float = 0.0) -> Tree:
    """The binary tree whose constituents have the greatest total of ``span_scores``.

    Top-down parsers commit to one cut after another; the chart compares all trees.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``, ``n`` at least 1.
        right_bonus: as for ``best_bracketing``: how much to favour branching to the right, as English does, in the
            units of ``impact``; on a matrix ``relative_to_mean``, 1 is the mean impact of a pair.

    Returns:
        A binary tree over the units.

    Raises:
        ValueError: the matrix is empty, not square or not finite.

    Note:
        O(n³).

    Example:
        >>> cky([[0, 1, 1, 1], [1, 0, 5, 1], [1, 5, 0, 2], [1, 1, 2, 0]]).outline("abcd")
        '(a ((b c) d))'
    """
    return best_bracketing(span_scores(impact), right_bonus=right_bonus)


def split_gains(impact: ArrayLike) -> Table:
    """How well each place cuts the whole range in two: the means inside both parts less the means across.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.

    Returns:
        For ``k`` from 1 to ``n - 1``: mean inside ``[0, k)`` + mean inside ``[k, n)`` - mean of the right part on the
        left - mean of the left part on the right. Shape ``(n - 1,)``.

    Example:
        >>> split_gains([[0.0, 5.0, 1.0], [5.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
        array([-5.,  3.])
    """
    scores = as_impact(impact)
    return _gains(_corner_sums(scores), 0, len(scores))


def span_scores(impact: ArrayLike) -> Table:
    """How well each range makes a constituent: the mean inside less the mean across its border, both ways.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.

    Returns:
        ``table[start, end]`` of the half-open range, shape ``(n, n + 1)``; 0 for single units and where ``end`` is not
        above ``start``. The whole sentence has nothing outside: its score is its mean.

    Example:
        >>> span_scores([[0.0, 5.0, 1.0], [5.0, 0.0, 1.0], [1.0, 1.0, 0.0]])[0]
        array([0.        , 0.        , 4.        , 2.33333333])
    """
    scores = as_impact(impact)
    length = len(scores)
    sums = _corner_sums(scores)
    starts, ends = np.triu_indices(length + 1, k=2)
    widths = ends - starts
    inside = sums[ends, ends] - sums[starts, ends] - sums[ends, starts] + sums[starts, starts]
    rows = sums[ends, length] - sums[starts, length]
    columns = sums[length, ends] - sums[length, starts]
    pairs_across = 2 * widths * (length - widths)
    across = (rows + columns - 2 * inside) / np.maximum(pairs_across, 1)
    table = np.zeros((length, length + 1))
    table[starts, ends] = inside / (widths * (widths - 1)) - np.where(pairs_across > 0, across, 0.0)
    return table


def best_bracketing(scores: ArrayLike, *, right_bonus: float = 0.0) -> Tree:
    """The binary tree of the greatest total score over its constituents (Cocke-Kasami-Younger).

    Args:
        scores: ``scores[start, end]`` of each half-open range, shape ``(n, n + 1)``, ``n`` at least 1; those of single
            units are not read.
        right_bonus: what each constituent gains besides, times the share of its units after its cut. Large ones give
            ``right_branching``, large negative ones ``left_branching``. The right-skewness bias of Kim et al.
            (2020), arXiv 2002.00737, does the same for top-down parsers.

    Returns:
        A binary tree; among equal ones, the one that cuts furthest to the left.

    Raises:
        ValueError: the shape is another.

    Note:
        O(n³) in n steps over all ranges of one width.

    Example:
        >>> scores = np.zeros((3, 4))
        >>> scores[1, 3] = 1.0
        >>> best_bracketing(scores).outline("abc")
        '(a (b c))'
        >>> best_bracketing(scores, right_bonus=-9.0).outline("abc")
        '((a b) c)'
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0 or table.shape[1] != len(table) + 1:
        raise ValueError(f"scores has shape {table.shape}; give (n, n + 1), a score for each start and end")
    length = len(table)
    # The best totals by start and by end, indexed by width, so that what one width combines are slices.
    by_start, by_end = np.zeros((length, length + 1)), np.zeros((length + 1, length + 1))
    middles = np.zeros((length, length + 1), dtype=np.intp)
    for width in range(2, length + 1):
        starts = np.arange(length - width + 1)
        ends = starts + width
        totals = by_start[starts, 1:width] + by_end[width:, width - 1 : 0 : -1]  # (ranges, widths of the left part)
        totals += right_bonus * np.arange(width - 1, 0, -1) / width
        best = totals.argmax(axis=1)
        middles[starts, ends] = starts + 1 + best
        by_start[starts, width] = by_end[ends, width] = totals[starts, best] + table[starts, ends]
    return Tree.by_splitting(length, lambda start, end: int(middles[start, end]))


def right_branching(length: int) -> Tree:
    """Each unit stands before a constituent of all that follows: the baseline to beat for English.

    Args:
        length: number of units, at least 1.

    Returns:
        A binary tree.

    Raises:
        ValueError: ``length`` is below 1.

    Example:
        >>> right_branching(4).outline("abcd")
        '(a (b (c d)))'
    """
    return Tree.by_splitting(length, lambda start, end: start + 1)


def left_branching(length: int) -> Tree:
    """Each unit stands after a constituent of all that precedes.

    Args:
        length: number of units, at least 1.

    Returns:
        A binary tree.

    Raises:
        ValueError: ``length`` is below 1.

    Example:
        >>> left_branching(4).outline("abcd")
        '(((a b) c) d)'
    """
    return Tree.by_splitting(length, lambda start, end: end - 1)


def random_branching(length: int, seed: int) -> Tree:
    """Each range is cut at a place drawn evenly: the least that a decoder must beat.

    Args:
        length: number of units, at least 1.
        seed: the same seed gives the same tree; give every sentence its own.

    Returns:
        A binary tree. Not all trees are equally likely: those of even cuts are likelier than chains.

    Raises:
        ValueError: ``length`` is below 1.

    Example:
        >>> random_branching(2, seed=0).outline("ab")
        '(a b)'
    """
    generator = np.random.default_rng(seed)
    return Tree.by_splitting(length, lambda start, end: int(generator.integers(start + 1, end)))


def _cut_from_the_top(scores: Table, *, pivot: bool) -> Tree:
    sums = _corner_sums(scores)
    return Tree.by_splitting(
        len(scores), lambda start, end: start + 1 + int(_gains(sums, start, end).argmax()), pivot=pivot
    )


def _corner_sums(scores: Table) -> Table:
    """``sums[i, j]`` of the first i rows and j columns, without the diagonal; shape ``(n + 1, n + 1)``."""
    sums = np.zeros((len(scores) + 1, len(scores) + 1))
    sums[1:, 1:] = (scores - np.diag(scores.diagonal())).cumsum(axis=0).cumsum(axis=1)
    return sums


def _gains(sums: Table, start: int, end: int) -> Table:
    def block(top: Place, bottom: Place, left: Place, right: Place) -> Table:
        return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]

    middles = np.arange(start + 1, end)
    before, after = middles - start, end - middles
    return (
        block(start, middles, start, middles) / np.maximum(before * (before - 1), 1)
        + block(middles, end, middles, end) / np.maximum(after * (after - 1), 1)
        - (block(start, middles, middles, end) + block(middles, end, start, middles)) / (before * after)
    )
