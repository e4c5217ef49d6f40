"""Dependency trees as arcs: over the words in SVG, beside them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from nlpkit.perturbed_masking.drawings.svg import document, text_element, text_width
from nlpkit.perturbed_masking.drawings.terminal import on_one_line
from nlpkit.perturbed_masking.trees.spanning_trees import find_cycle

_SIZE, _GAP, _STEP, _MARGIN = 16.0, 18.0, 22.0, 16.0
_BEND, _FOOT, _NOTE = 8.0, 6.0, 0.7
_PLAIN, _RIGHT, _WRONG = "#3b4252", "#2a7f3e", "#c0392b"

_UP, _DOWN, _LEFT, _RIGHT_SIDE = 1, 2, 4, 8
_BOXES = " │││─┘┐┤─└┌├─┴┬┼"  # by the sum of the sides on which lines leave a cell


def arcs_svg(
    words: Sequence[str],
    heads: Sequence[int],
    *,
    gold: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> str:
    """Draw a dependency tree over its words: arrows point from head to dependent, the root has one from above.

    Arcs that do not cross in the tree do not cross in the picture; those that only share a word are level.

    Args:
        words: of the sentence.
        heads: 1-based, 0 for a root.
        gold: the right heads; arcs that agree are then green and others red.
        labels: of the arcs, by their dependents, written above them; an empty one is left out.
        tags: written below the words, e.g. parts of speech.

    Returns:
        The text of an SVG file. Words have ``data-unit``, from 0, and arcs ``data-dependent`` and ``data-head``.

    Raises:
        ValueError: the lengths differ, or a head is out of range.

    Example:
        >>> arcs_svg(["我", "来"], [2, 0], labels=["nsubj", ""]).count("<path")
        4
    """
    _check(words, heads, gold=gold, labels=labels, tags=tags)
    labels = labels or [""] * len(words)
    tags = tags or [""] * len(words)
    levels = arc_levels(heads)
    columns = _columns(words, heads, labels, tags)
    feet = _feet(heads, levels, columns)
    ground = _MARGIN + _STEP * (max(levels.values(), default=0) + 1.5)
    arcs, texts = [], []
    for unit, head in enumerate(heads, start=1):
        colour = _PLAIN if gold is None else _RIGHT if gold[unit - 1] == head else _WRONG
        if head == 0:
            x = columns[unit - 1].centre
            line = f"M {x:.1f} {_MARGIN:.1f} V {ground:.1f}"
        else:
            start, x = feet[unit, head], feet[unit, unit]
            top = ground - _STEP * levels[unit]
            bend = min(_BEND, abs(x - start) / 2) * (1 if start < x else -1)
            shoulder = top + abs(bend)
            line = (
                f"M {start:.1f} {ground:.1f} V {shoulder:.1f} Q {start:.1f} {top:.1f} {start + bend:.1f} {top:.1f} "
                f"H {x - bend:.1f} Q {x:.1f} {top:.1f} {x:.1f} {shoulder:.1f} V {ground:.1f}"
            )
            if labels[unit - 1]:
                note = f'font-size="{_SIZE * _NOTE:g}" fill="{colour}"'
                texts.append(text_element(labels[unit - 1], (start + x) / 2, top - 3, extra=note))
        data = f'data-dependent="{unit - 1}" data-head="{head - 1}"'
        arcs.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.4" {data}/>')
        arcs.append(f'<path d="M {x:.1f} {ground + 3:.1f} l -4 -8 h 8 z" fill="{colour}" {data}/>')
    baseline = ground + 3 + _SIZE * 1.2
    for unit, (word, tag) in enumerate(zip(words, tags, strict=True)):
        x = columns[unit].centre
        texts.append(text_element(word, x, baseline, extra=f'data-unit="{unit}"'))
        if tag:
            note = f'font-size="{_SIZE * _NOTE:g}" fill="{_PLAIN}"'
            texts.append(text_element(tag, x, baseline + _SIZE, extra=note))
    width = columns[-1].centre + columns[-1].width / 2 if columns else _MARGIN
    bottom = baseline + (_SIZE if any(tags) else 0.0)
    return document(width + _MARGIN, bottom + _MARGIN, arcs + texts, title=" ".join(words), size=_SIZE)


class _Column(NamedTuple):
    """Where a word stands, in pixels."""

    centre: float
    width: float


def _columns(words: Sequence[str], heads: Sequence[int], labels: Sequence[str], tags: Sequence[str]) -> list[_Column]:
    """Columns wide enough for the words, and far enough apart for the labels of their arcs."""
    columns: list[_Column] = []
    right = _MARGIN
    for place, (word, tag) in enumerate(zip(words, tags, strict=True)):
        width = max(text_width(word, _SIZE), text_width(tag, _SIZE * _NOTE), _GAP)
        centre = right + width / 2
        arcs = [(heads[place] - 1, place), *((unit, unit) for unit in range(place) if heads[unit] == place + 1)]
        for other, dependent in arcs:
            if 0 <= other < place and labels[dependent]:
                centre = max(centre, columns[other].centre + text_width(labels[dependent], _SIZE * _NOTE) + _GAP)
        columns.append(_Column(centre, width))
        right = centre + width / 2 + _GAP
    return columns


def _feet(heads: Sequence[int], levels: dict[int, int], columns: list[_Column]) -> dict[tuple[int, int], float]:
    """Where each arc, by its dependent, stands on each of its words: the higher, the nearer to the middle.

    So arcs of one word lie inside each other like the ranges that they span.
    """
    sides: dict[tuple[int, int], list[int]] = {}
    for dependent in levels:
        head = heads[dependent - 1]
        for unit, other in ((dependent, head), (head, dependent)):
            sides.setdefault((unit, 1 if other > unit else -1), []).append(dependent)
    feet = {}
    for (unit, side), dependents in sides.items():
        column = columns[unit - 1]
        step = min(_FOOT, (column.width / 2 - 2) / len(dependents))
        for number, dependent in enumerate(sorted(dependents, key=lambda one: -levels[one])):
            feet[dependent, unit] = column.centre + side * step * (number + 0.5)
    return feet


def arcs_text(words: Sequence[str], heads: Sequence[int], *, notes: Sequence[str] | None = None) -> str:
    """Draw a dependency tree in characters, one line per word, so that sentences of any length fit a terminal.

    An arrowhead stands beside the corner of the arc that ends at its word; the root has a dot.

    Args:
        words: of the sentence.
        heads: 1-based, 0 for a root.
        notes: shown in a column after the words, e.g. parts of speech.

    Returns:
        Lines joined by line ends.

    Raises:
        ValueError: the lengths differ, or a head is out of range.

    Example:
        >>> print(arcs_text(["我", "喜欢", "读", "书"], [2, 0, 2, 3]))
          ┌► 我
          ├● 喜欢
        ┌─┴► 读
        └►── 书
    """
    _check(words, heads, notes=notes)
    levels = arc_levels(heads, apart=True)
    depth = max(levels.values(), default=0)
    grid = [[0] * (2 * depth + 1) for _ in words]
    arrows = {}
    for unit, level in levels.items():
        head, column = heads[unit - 1], 2 * (depth - level)
        top, bottom = sorted((unit - 1, head - 1))
        grid[top][column] |= _DOWN
        grid[bottom][column] |= _UP
        for row in range(top + 1, bottom):
            grid[row][column] |= _UP | _DOWN
        for row in (top, bottom):
            grid[row][column] |= _RIGHT_SIDE
            for place in range(column + 1, 2 * depth + 1):
                grid[row][place] |= _LEFT | _RIGHT_SIDE
        arrows[unit - 1] = column + 1

    widest = max((cell_len(on_one_line(word)) for word in words), default=0)
    lines = []
    for row, word in enumerate(words):
        cells = [_BOXES[cell] for cell in grid[row][:-1]]
        if heads[row] == 0:
            cells[-1:] = ["●"] if cells else []
        elif row in arrows:
            cells[arrows[row]] = "►"
        shown = on_one_line(word)
        note = "" if notes is None else " " * (widest - cell_len(shown)) + f"  {on_one_line(notes[row])}"
        lines.append(f"{''.join(cells) or '●'} {shown}{note}".rstrip())
    return "\n".join(lines)


def arc_levels(heads: Sequence[int], *, apart: bool = False) -> dict[int, int]:
    """How high each arc is drawn, so that none runs over another: shorter ones below longer ones.

    Args:
        heads: 1-based, 0 for a root.
        apart: keep arcs that share a word, but no more, on different levels, unless it is the head of both: in
            characters, both would run into one.

    Returns:
        Dependent to level, from 1; roots have none.

    Example:
        >>> arc_levels([2, 3, 4, 0]), arc_levels([2, 3, 4, 0], apart=True)
        ({1: 1, 2: 1, 3: 1}, {1: 1, 2: 2, 3: 1})
    """
    arcs = sorted((abs(unit - head), unit, head) for unit, head in enumerate(heads, start=1) if head)
    placed: list[tuple[int, int, int, int]] = []
    for _, unit, head in arcs:
        low, high = min(unit, head), max(unit, head)
        level = 1 + max((one for one, start, end, _ in placed if low < end and start < high), default=0)
        beside = {
            one for one, start, end, other in placed if apart and head != other and (low == end or start == high)
        }
        while level in beside:
            level += 1
        placed.append((level, low, high, head))
    return dict(sorted((unit, level) for (_, unit, _), (level, *_) in zip(arcs, placed, strict=True)))


def _check(
    words: Sequence[str],
    heads: Sequence[int],
    *,
    gold: Sequence[int] | None = None,
    **texts: Sequence[str] | None,
) -> None:
    for name, values in (("heads", heads), ("gold", gold)):
        if values is not None and (len(values) != len(words) or not all(0 <= head <= len(words) for head in values)):
            raise ValueError(f"{name} {list(values)} do not fit {len(words)} words; give 0 to {len(words)} for each")
        if values is not None and (cycle := find_cycle(values)):
            raise ValueError(f"{name} {list(values)} form a cycle of the words {cycle}; give a tree")
    for name, given in texts.items():
        if given is not None and len(given) != len(words):
            raise ValueError(f"{name} has {len(given)} items for {len(words)} words; give one per word")
