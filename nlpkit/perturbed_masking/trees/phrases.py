"""The phrases of a dependency tree: each word together with all that depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle
from nlpkit.perturbed_masking.trees.tree import Tree


def phrases(heads: Sequence[int]) -> Tree | None:
    """The constituents that a dependency tree implies: the words under each word are one, flat.

    Args:
        heads: 1-based, 0 for the root.

    Returns:
        A tree over the words, not binary and without labels. A word that depends on the root and has no dependents,
        as punctuation does, joins a lower phrase that stands around it. ``None`` where other arcs cross, or there are
        several roots or none.

    Example:
        >>> found = phrases([2, 0, 2, 3])
        >>> found.outline(["我", "喜欢", "读", "书"])
        '(我 喜欢 (读 书))'
        >>> phrases([3, 4, 4, 0]).outline("a,bc"), phrases([3, 4, 0, 2])
        ('((a , b) c)', None)
    """
    if list(heads).count(0) != 1 or find_cycle(heads):
        return None
    root = list(heads).index(0) + 1
    on_root = {place for place, head in enumerate(heads) if head == root and place + 1 not in heads}
    loose = set(on_root)
    below: list[list[Tree]] = [[Tree.leaf(place)] for place in range(len(heads))]
    for place in _bottom_up(heads):
        if place in on_root:
            continue
        if heads[place] == 0:
            below[place] += [Tree.leaf(other) for other in loose]
        parts = sorted(below[place], key=lambda tree: tree.start)
        for one, other in pairwise(list(parts)):
            gap = set(range(one.end, other.start))
            if one.end > other.start or not gap <= loose:
                return None
            loose -= gap
            parts += [Tree.leaf(between) for between in gap]
        parts.sort(key=lambda tree: tree.start)
        whole = Tree(parts[0].start, parts[-1].end, tuple(parts)) if len(parts) > 1 else parts[0]
        if heads[place] == 0:
            return whole
        below[heads[place] - 1].append(whole)
    return None


def _bottom_up(heads: Sequence[int]) -> list[int]:
    """Places from 0, each after all below it; without recursion, as chains run deep."""
    dependents: list[list[int]] = [[] for _ in range(len(heads) + 1)]
    for place, head in enumerate(heads):
        dependents[head].append(place)
    order, waiting = [], list(dependents[0])
    while waiting:
        place = waiting.pop()
        order.append(place)
        waiting += dependents[place + 1]
    return order[::-1]
