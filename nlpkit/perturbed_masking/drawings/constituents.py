"""Constituency trees as drawings: over the words in SVG, beside them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from nlpkit.perturbed_masking.drawings.svg import document, text_element, text_width
from nlpkit.perturbed_masking.drawings.terminal import on_one_line
from nlpkit.perturbed_masking.trees.tree import Tree

_SIZE, _GAP, _STEP, _MARGIN = 16.0, 18.0, 30.0, 16.0
_COLOUR = "#3b4252"


def constituents_svg(tree: Tree, words: Sequence[str]) -> str:
    """Draw a constituency tree above its words, all of them on one line; elbows, unlike slopes, never cross.

    Args:
        tree: with or without labels.
        words: of the sentence, indexed by the tree's positions.

    Returns:
        The text of an SVG file. Words have ``data-unit``, from 0.

    Raises:
        ValueError: there are fewer words than units.

    Example:
        >>> from nlpkit.perturbed_masking.trees.constituents import right_branching
        >>> constituents_svg(right_branching(3), ["我", "读", "书"]).count("<path")
        4
    """
    _check(tree, words)
    bottom_up = list(tree.subtrees())[::-1]
    centre: dict[int, float] = {}
    height: dict[int, int] = {}
    right = _MARGIN
    for leaf in (part for part in reversed(bottom_up) if not part.children):
        width = max(text_width(words[leaf.start], _SIZE), text_width(leaf.label, _SIZE * 0.8), _GAP)
        centre[id(leaf)], height[id(leaf)] = right + width / 2, 0
        right += width + _GAP
    for part in bottom_up:
        if part.children:
            centre[id(part)] = (centre[id(part.children[0])] + centre[id(part.children[-1])]) / 2
            height[id(part)] = 1 + max(height[id(child)] for child in part.children)
    top = _MARGIN + _SIZE
    ground = top + _STEP * height[id(tree)]

    lines, texts = [], []
    for part in bottom_up:
        x, y = centre[id(part)], ground - _STEP * height[id(part)]
        for child in part.children:
            above = _SIZE * 0.9 if child.label else 0.0 if not child.children else -4.0
            elbow = (
                f"M {x:.1f} {y + 4:.1f} H {centre[id(child)]:.1f} V {ground - _STEP * height[id(child)] - above:.1f}"
            )
            lines.append(f'<path d="{elbow}" fill="none" stroke="{_COLOUR}" stroke-width="1.4"/>')
        if part.label:
            texts.append(text_element(part.label, x, y, extra=f'font-size="{_SIZE * 0.8:g}" fill="{_COLOUR}"'))
        if not part.children:
            unit = f'data-unit="{part.start - tree.start}"'
            texts.append(text_element(words[part.start], x, ground + _SIZE * 1.3, extra=unit))
    title = " ".join(words[tree.start : tree.end])
    return document(right - _GAP + _MARGIN, ground + _SIZE * 1.3 + _MARGIN, lines + texts, title=title, size=_SIZE)


def constituents_text(tree: Tree, words: Sequence[str]) -> str:
    """Draw a constituency tree in characters, one line per word.

    Args:
        tree: with or without labels.
        words: of the sentence, indexed by the tree's positions.

    Returns:
        Lines joined by line ends.

    Raises:
        ValueError: there are fewer words than units.

    Example:
        >>> print(constituents_text(Tree.by_splitting(4, lambda start, end: (start + end) // 2), "天地人和"))
        ┬─┬─ 天
        │ └─ 地
        └─┬─ 人
          └─ 和
    """
    _check(tree, words)
    lines = []
    waiting = [(tree, "", "")]
    while waiting:
        part, first, rest = waiting.pop()
        before = " " if first else ""
        label = f"{before}{part.label}" if part.label else ""
        if not part.children:
            lines.append(f"{first}{label}{' ' if first or label else ''}{on_one_line(words[part.start])}")
            continue
        if label:
            first, rest = f"{first}{label} ", rest + " " * (cell_len(label) + 1)
        last = len(part.children) - 1
        branches = [
            (child, first if place == 0 else rest, rest, place == 0, place == last)
            for place, child in enumerate(part.children)
        ]
        waiting += [
            (
                child,
                own + ("─" if is_first and is_last else "┬" if is_first else "└" if is_last else "├") + "─",
                below + ("  " if is_last else "│ "),
            )
            for child, own, below, is_first, is_last in reversed(branches)
        ]
    return "\n".join(lines)


def _check(tree: Tree, words: Sequence[str]) -> None:
    if len(words) < tree.end:
        raise ValueError(f"words has {len(words)} items, but the tree reaches unit {tree.end}; give every word")
