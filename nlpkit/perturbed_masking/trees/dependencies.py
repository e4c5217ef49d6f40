"""From impact matrices to dependency trees: Eisner, Chu-Liu/Edmonds, and the chains and random trees to beat.

Every decoder returns heads as CoNLL-U writes them: one per unit, 1-based, 0 for the root.

The direction of an arc. ``impact[i, j]`` is the impact of unit ``j`` on the prediction of unit ``i``. It is the score
of the arc from the head ``j`` to the dependent ``i``: heads select their dependents, so the unit with the impact is
taken as the head (Wu et al., 2020, section 3.2). A row holds the candidate heads of one unit. The diagonal is never
read.

The choice of the root. An impact matrix has no row for a root. Where none is given, a unit's score as the root is
the mean impact it has on the others (``mean_impact_on_others``), a number on the scale of one arc. The root
found is then the unit whose own best head is worth least *and* that has most impact on the sentence; scaling or
shifting the whole matrix does not change the tree. ``root_scores=np.zeros(n)`` asks for the arcs' maximum alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlpkit.perturbed_masking.trees.impact_matrix import as_impact
from nlpkit.perturbed_masking.trees.published import wu_edmonds, wu_eisner
from nlpkit.perturbed_masking.trees.spanning_trees import best_projective_tree, best_spanning_tree


def eisner(
    impact: ArrayLike, *, root: int | None = None, root_scores: ArrayLike | None = None, faithful: bool = False
) -> list[int]:
    """The best projective tree with one root: no two arcs cross.

    Source: Eisner (1996); for impact matrices Wu et al. (2020), arXiv 2004.14786, section 3.2.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``, finite.
        root: the root, 1-based, where it is known; its gold value makes the scores those of Wu et al.
        root_scores: of each unit as the root, shape ``(n,)``; by default the mean impact on the others.
        faithful: decode as the authors' code does, quirks included (``wu_eisner`` names them).

    Returns:
        The heads, 1-based, 0 for the root, ``n`` of them.

    Raises:
        ValueError: the matrix is not square or not finite, ``root`` is no unit of it, ``root_scores`` does not fit,
            or is given together with ``root`` or ``faithful``.

    Note:
        O(n³); about a millisecond for 40 units.

    Example:
        >>> eisner([[0.0, 2.0, 1.0], [2.5, 0.0, 1.0], [1.0, 4.0, 0.0]])
        [2, 0, 2]
        >>> eisner([[0.0, 2.0, 1.0], [2.5, 0.0, 1.0], [1.0, 4.0, 0.0]], root=1)
        [0, 1, 2]
    """
    scores = as_impact(impact)
    weights = _root_weights(scores, root, root_scores, faithful)
    if len(scores) == 0:
        return []
    if faithful:
        return wu_eisner(scores, root=root)
    return (best_projective_tree(scores, weights) + 1).tolist()


def edmonds(
    impact: ArrayLike,
    *,
    root: int | None = None,
    root_scores: ArrayLike | None = None,
    single_root: bool = True,
    faithful: bool = False,
) -> list[int]:
    """The best tree, arcs crossing or not (Chu-Liu/Edmonds).

    Source: Chu and Liu (1965), Edmonds (1967); for impact matrices Wu et al. (2020), section 3.2.

    Args:
        impact: ``impact[i, j]`` of ``j`` on ``i``, shape ``(n, n)``, any finite numbers; not changed.
        root: the root, 1-based, where it is known.
        root_scores: of each unit as the root, shape ``(n,)``; by default the mean impact on the others.
        single_root: ``False`` allows several roots, each of which takes its root score instead of a head's.
        faithful: decode as the authors' code does, quirks included (``wu_edmonds`` names them); it allows
            several roots whatever ``single_root`` says.

    Returns:
        The heads, 1-based, 0 for the root, ``n`` of them.

    Raises:
        ValueError: as ``eisner``.

    Note:
        O(n² log n) on most matrices, O(n³) on chains. Never scores less than ``eisner`` on the same matrix.

    Example:
        >>> edmonds([[0.0, 9.0, 0.0], [8.0, 0.0, 1.0], [2.0, 3.0, 0.0]])
        [2, 0, 2]
    """
    scores = as_impact(impact)
    weights = _root_weights(scores, root, root_scores, faithful)
    if len(scores) == 0:
        return []
    if faithful:
        return wu_edmonds(scores, root=root)
    return (best_spanning_tree(scores, weights, single_root=single_root) + 1).tolist()


def mean_impact_on_others(impact: ArrayLike) -> NDArray[np.float64]:
    """The impact of each unit on the others, on average: the decoders' default score of a unit as the root.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.

    Returns:
        Shape ``(n,)``; 0 for a single unit.

    Example:
        >>> mean_impact_on_others([[0.0, 2.0, 1.0], [2.5, 0.0, 1.0], [1.0, 4.0, 0.0]])
        array([1.75, 3.  , 1.  ])
    """
    scores = as_impact(impact)
    return (scores.sum(axis=0) - scores.diagonal()) / max(len(scores) - 1, 1)


def share_of_heads(impact: ArrayLike) -> NDArray[np.float64]:
    """Each row as a distribution over candidate heads: the softmax that the authors' code meant.

    A unit on which everything has impact then counts no more than one on which little has, and a tree's score is a sum
    of probabilities. Decode it like any other matrix.

    Source: ``dep_parsing.py`` of LividWo/Perturbed-Masking, with its axis corrected: the code divides column ``j`` by
    the sum of row ``j``.

    Args:
        impact: shape ``(n, n)``; the diagonal is not read.

    Returns:
        Shape ``(n, n)``: rows sum to 1, the diagonal is 0. A single unit has no head, and gives 0.

    Example:
        >>> share_of_heads([[0.0, 1.0, 1.0], [0.0, 9.0, 0.0], [5.0, 5.0, 0.0]])
        array([[0. , 0.5, 0.5],
               [0.5, 0. , 0.5],
               [0.5, 0.5, 0. ]])
    """
    scores = as_impact(impact).copy()
    if len(scores) < 2:
        return np.zeros_like(scores)
    np.fill_diagonal(scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def right_chain(length: int, *, root: int | None = None, faithful: bool = False) -> list[int]:
    """Every unit attaches to its right neighbour: the baseline that unsupervised parsers of English must beat.

    Args:
        length: number of units.
        root: the root, 1-based; the last unit by default. The last unit then attaches to it.
        faithful: as the published baseline: the last unit, unless it is the root, attaches to a unit after the end
            of the sentence, so its arc is never right and the heads are no tree.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: ``length`` is negative, or ``root`` is not within it.

    Example:
        >>> right_chain(4), right_chain(4, root=2), right_chain(4, root=2, faithful=True)
        ([2, 3, 4, 0], [2, 0, 4, 2], [2, 0, 4, 5])
    """
    _check_length(length, root)
    heads = list(range(2, length + 2))
    if length and not faithful:
        heads[-1] = root or 0
    if root is not None:
        heads[root - 1] = 0
    return heads


def left_chain(length: int, *, root: int | None = None, faithful: bool = False) -> list[int]:
    """Every unit attaches to its left neighbour.

    Args:
        length: number of units.
        root: the root, 1-based; the first unit by default. The first unit then attaches to it.
        faithful: as the published baseline: the first unit is a root beside the given one.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: as ``right_chain``.

    Example:
        >>> left_chain(4), left_chain(4, root=3), left_chain(4, root=3, faithful=True)
        ([0, 1, 2, 3], [3, 1, 0, 3], [0, 1, 0, 3])
    """
    _check_length(length, root)
    heads = list(range(length))
    if root is not None:
        if not faithful:
            heads[0] = root
        heads[root - 1] = 0
    return heads


def star(length: int, *, root: int) -> list[int]:
    """Every unit attaches to the root: what a parser scores that knows the root and nothing else.

    Args:
        length: number of units.
        root: the root, 1-based.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: as ``right_chain``.

    Example:
        >>> star(4, root=2)
        [2, 0, 2, 2]
    """
    _check_length(length, root)
    return [0 if unit == root else root for unit in range(1, length + 1)]


def random_tree(length: int, seed: int, *, root: int | None = None) -> list[int]:
    """A tree drawn evenly from all trees over the units: the least that a decoder must beat.

    Source: Wilson (1996): walks at random until the tree is met, with their loops erased.

    Args:
        length: number of units.
        seed: the same seed gives the same tree; give every sentence its own.
        root: the root, 1-based; drawn evenly by default.

    Returns:
        The heads, 1-based, 0 for the root.

    Raises:
        ValueError: as ``right_chain``.

    Example:
        >>> sorted(random_tree(3, seed=0)).index(0), random_tree(1, seed=0)
        (0, [0])
    """
    _check_length(length, root)
    if length == 0:
        return []
    generator = np.random.default_rng(seed)
    heads = [-1] * length
    in_tree = [False] * length
    first = int(generator.integers(length)) if root is None else root - 1
    in_tree[first] = True
    for start in range(length):
        node = start
        while not in_tree[node]:
            others = int(generator.integers(length - 1))
            heads[node] = others + (others >= node)  # a later visit overwrites this: that erases the loop
            node = heads[node]
        node = start
        while not in_tree[node]:
            in_tree[node] = True
            node = heads[node]
    heads[first] = -1
    return [head + 1 for head in heads]


def _check_length(length: int, root: int | None) -> None:
    if length < 0:
        raise ValueError(f"length is {length}; give the number of units, 0 or more")
    if root is not None and not 1 <= root <= length:
        raise ValueError(f"root is {root}, but there are {length} units; give 1 to {length}, or None to choose it")


def _root_weights(
    scores: NDArray[np.float64], root: int | None, root_scores: ArrayLike | None, faithful: bool
) -> NDArray[np.float64]:
    _check_length(len(scores), root)
    if root_scores is None:
        if root is None:
            return mean_impact_on_others(scores)
        return np.where(np.arange(1, len(scores) + 1) == root, 0.0, -np.inf)
    if root is not None or faithful:
        other = "root" if root is not None else "faithful=True"
        raise ValueError(f"root_scores and {other} are both given; give one of them")
    weights = np.asarray(root_scores, dtype=np.float64)
    if weights.shape != (len(scores),) or not np.isfinite(weights).all():
        raise ValueError(
            f"root_scores has shape {weights.shape}; give one finite number for each of the {len(scores)} units"
        )
    return weights
