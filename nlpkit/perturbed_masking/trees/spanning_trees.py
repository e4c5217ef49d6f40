"""The best dependency tree of a score matrix: Eisner's chart, and Chu, Liu and Edmonds' contraction of cycles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Indices = NDArray[np.intp]


def best_projective_tree(scores: Scores, root_scores: Scores) -> Indices:
    """The projective tree with one root of the greatest total score.

    Source: Eisner (1996), in the form with complete and incomplete spans. The root is chosen after the chart is
    full, as the unit whose two complete spans reach the ends of the sentence; so it is single by construction.

    Args:
        scores: ``scores[i, j]`` of an arc from the head ``j`` to its dependent ``i``, shape ``(n, n)``.
        root_scores: of each unit as the root; ``-inf`` forbids it, shape ``(n,)``.

    Returns:
        The head of each unit, from 0; -1 for the root, shape ``(n,)``.

    Note:
        O(n³) time in n steps over all spans of one width, O(n²) memory. Among equal trees the one whose splits and
        root lie furthest to the left wins.

    Example:
        >>> best_projective_tree(np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [1.0, 4.0, 0.0]]), np.zeros(3))
        array([-1,  0,  1])
    """
    length = len(scores)
    # A span is read from both its ends. Indexed by that end and the span's width, what one width combines are slices.
    by_start = {side: np.zeros((length, length)) for side in ("left", "right")}
    by_end = {side: np.zeros((length, length)) for side in ("left", "right")}
    left_arcs_by_end, right_arcs_by_start = np.zeros((length, length)), np.zeros((length, length))
    splits = {key: np.zeros((length, length), dtype=np.intp) for key in ("left", "right", "left arc", "right arc")}

    for width in range(1, length):
        starts = np.arange(length - width)
        ends = starts + width
        halves = by_start["right"][: length - width, :width] + by_end["left"][width:, width - 1 :: -1]
        for side, arcs, anchors, arc_scores in (
            ("left", left_arcs_by_end, ends, scores[starts, ends]),
            ("right", right_arcs_by_start, starts, scores[ends, starts]),
        ):
            totals = halves + arc_scores[:, None]  # (spans, splits)
            best = totals.argmax(axis=1)
            splits[f"{side} arc"][starts, width] = best
            arcs[anchors, width] = totals[starts, best]
        for side, totals in (
            ("left", by_start["left"][: length - width, :width] + left_arcs_by_end[width:, width:0:-1]),
            ("right", right_arcs_by_start[: length - width, 1 : width + 1] + by_end["right"][width:, width - 1 :: -1]),
        ):
            best = totals.argmax(axis=1)
            splits[side][starts, width] = best
            by_start[side][starts, width] = by_end[side][ends, width] = totals[starts, best]

    every = np.arange(length)
    root = int((by_end["left"][every, every] + by_start["right"][every, length - 1 - every] + root_scores).argmax())
    return _read_chart(splits, root)


def _read_chart(splits: dict[str, Indices], root: int) -> Indices:
    length = len(splits["left"])
    heads = np.full(length, -1, dtype=np.intp)
    spans = [("left", 0, root), ("right", root, length - 1)]
    while spans:
        kind, start, end = spans.pop()
        if start == end:
            continue
        middle = start + int(splits[kind][start, end - start])
        if kind == "left":
            spans += [("left", start, middle), ("left arc", middle, end)]
        elif kind == "right":
            spans += [("right arc", start, middle + 1), ("right", middle + 1, end)]
        else:
            head, dependent = (end, start) if kind == "left arc" else (start, end)
            heads[dependent] = head
            spans += [("right", start, middle), ("left", middle + 1, end)]
    return heads


def best_spanning_tree(scores: Scores, root_scores: Scores, *, single_root: bool = True) -> Indices:
    """The tree of the greatest total score, arcs crossing or not.

    Source: Chu and Liu (1965), Edmonds (1967): each unit takes its best head, cycles are contracted, and so on until
    none is left. Every cycle of a round is contracted at once. For a single root the root's arcs stay out of the
    choice until one contracted unit remains, which exactly one of them then enters: no penalty, hence no rounding.

    Args:
        scores: ``scores[i, j]`` of an arc from the head ``j`` to its dependent ``i``, any finite numbers, shape
            ``(n, n)``; not changed.
        root_scores: of each unit as the root; ``-inf`` forbids it, shape ``(n,)``.
        single_root: ``False`` allows several roots.

    Returns:
        The head of each unit, from 0; -1 for a root, shape ``(n,)``.

    Note:
        A round is O(n²). Random matrices take about log n of them; where neighbours have most impact on each other, a
        round may contract no more than two nodes, and there are n.

    Example:
        >>> best_spanning_tree(np.array([[0.0, 9.0, 0.0], [8.0, 0.0, 1.0], [2.0, 3.0, 0.0]]), np.zeros(3))
        array([ 1, -1,  1])
    """
    length = len(scores)
    arcs = np.full((length + 1, length + 1), -np.inf)  # node 0 is the root
    arcs[1:, 1:] = scores
    arcs[1:, 0] = root_scores
    np.fill_diagonal(arcs, -np.inf)
    return _contract_and_expand(arcs, single_root)[1:] - 1


def _contract_and_expand(arcs: Scores, single_root: bool) -> Indices:
    """Heads of the best tree over the nodes of ``arcs[dependent, head]``, the diagonal of which is -inf; 0 is root."""
    rounds: list[tuple[Indices, Indices, Indices]] = []
    while True:
        first_candidate = 1 if single_root and len(arcs) > 2 else 0
        heads: Indices = arcs[:, first_candidate:].argmax(axis=1) + first_candidate
        heads[0] = 0
        groups = groups_of_cycles(heads)
        if len(groups) == len(arcs):
            break
        entered, left, arcs = _contract(arcs, heads, groups)
        rounds.append((heads, entered, left))

    for inner, entered, left in reversed(rounds):
        for group in range(1, len(heads)):
            head = left[group, heads[group]]
            inner[entered[group, head]] = head
        heads = inner
    return heads


def _contract(arcs: Scores, heads: Indices, groups: list[Indices]) -> tuple[Indices, Indices, Scores]:
    """The arcs between groups, and which nodes they join.

    Returns:
        ``entered[group, node]``, the dependent that the best arc from a node into a group ends at; ``left[group,
        other]``, the head that the best arc from another group into a group starts at; and those arcs' scores,
        ``(groups, groups)``.
    """
    cycles = [place for place, group in enumerate(groups) if len(group) > 1]
    in_cycle = np.concatenate([groups[place] for place in cycles])
    gains = arcs.copy()  # entering a cycle breaks one of its arcs
    gains[in_cycle] -= arcs[in_cycle, heads[in_cycle]][:, None]

    firsts = np.array([group[0] for group in groups])
    entered = np.repeat(firsts[:, None], len(arcs), axis=1)
    for place in cycles:
        entered[place] = groups[place][gains[groups[place]].argmax(axis=0)]
    entries = np.take_along_axis(gains, entered, axis=0)
    left = np.repeat(firsts[None, :], len(groups), axis=0)
    for place in cycles:
        left[:, place] = groups[place][entries[:, groups[place]].argmax(axis=1)]
    contracted = np.take_along_axis(entries, left, axis=1)
    np.fill_diagonal(contracted, -np.inf)
    return entered, left, contracted


def groups_of_cycles(heads: NDArray[Any]) -> list[Indices]:
    """The nodes a contraction leaves: each cycle of the heads as one group, every other node alone.

    Args:
        heads: of each node, from 0; node 0 is its own head, shape ``(n,)``.

    Returns:
        The groups, each in ascending order, ordered by their first node; group 0 is the root alone.

    Example:
        >>> [group.tolist() for group in groups_of_cycles(np.array([0, 2, 1, 2]))]
        [[0], [1, 2], [3]]
    """
    cycle_of = list(range(len(heads)))
    visited_from = [-1] * len(heads)
    for start in range(len(heads)):
        node = start
        while visited_from[node] < 0:
            visited_from[node] = start
            node = int(heads[node])
        if visited_from[node] == start and heads[node] != node:  # the walk met itself: a cycle not seen before
            members = [node]
            while heads[members[-1]] != node:
                members.append(int(heads[members[-1]]))
            for member in members:
                cycle_of[member] = min(members)
    groups: dict[int, list[int]] = {}
    for node, cycle in enumerate(cycle_of):
        groups.setdefault(cycle, []).append(node)
    return [np.array(members, dtype=np.intp) for members in groups.values()]


def find_cycle(heads: Sequence[int | None]) -> list[int]:
    """A cycle among heads, which then are no tree.

    Args:
        heads: 1-based, 0 for a root, ``None`` where a unit has none.

    Returns:
        The units of the first cycle, 1-based and in ascending order; none in a tree.

    Example:
        >>> find_cycle([2, 0, 2]), find_cycle([0, 3, 4, 2])
        ([], [2, 3, 4])
    """
    groups = groups_of_cycles(np.array([0, *(head or 0 for head in heads)]))
    alone = [unit for unit, head in enumerate(heads, start=1) if head == unit]
    return min(
        [alone[:1], *(group.tolist() for group in groups if len(group) > 1)], key=lambda cycle: (not cycle, cycle)
    )
